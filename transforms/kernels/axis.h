// What each pixel of the target takes from the pixels of the source, on one axis.

#include <stdint.h>

typedef struct {
    int64_t length;    // of the target, in pixels
    int64_t most;      // taps of a pixel: the step of `weights`
    int64_t *first;    // tap of each pixel
    int64_t *count;    // of its taps
    int32_t *weights;  // of the taps, in units of 2^-22; NULL where memory was short
} Axis;

// The pixels begin to begin + length of `source` pixels scaled to `target`.
Axis make_axis(int64_t source, int64_t target, int64_t begin, int64_t length, int filter);

void free_axis(Axis axis);

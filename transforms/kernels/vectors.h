// What the kernels share: sixteen bytes at a time.
// Pillow's arithmetic is kept, and its order: a double rounded elsewhere makes another picture.

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { CHANNELS = 3, LANES = 16 };

typedef uint8_t Bytes __attribute__((vector_size(LANES)));

static inline Bytes load(const uint8_t *from) {
    Bytes bytes;
    memcpy(&bytes, from, sizeof bytes);
    return bytes;
}

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : smaller(value, high);
}

// Pillow's perspective transform of RGB pictures with its bicubic filter: a cubic through four pixels in each of
// four rows, and one through the four results.
//
// Source: https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Geometry.c

#include "vectors.h"

enum { SIDE = 4, STRETCH = 64 };

typedef uint32_t Words __attribute__((vector_size(LANES)));
typedef int16_t Shorts __attribute__((vector_size(LANES * 2)));
typedef double Reals __attribute__((vector_size(LANES * 8)));  // the colours of four pixels
typedef double Colour __attribute__((vector_size(32)));        // red, green, blue, and a lane to spare
typedef int32_t Levels __attribute__((vector_size(16)));
typedef uint8_t Pixel __attribute__((vector_size(4)));

// Where pixels of a stretch are seen: the sixteen pixels around, and how far from the second of four.
typedef struct {
    int32_t left[STRETCH], top[STRETCH], inside[STRETCH];
    double dx[STRETCH], dy[STRETCH];
} Points;

static inline int32_t round_down(double x) {
    int32_t truncated = (int32_t)x;
    return truncated - (x < truncated);
}

static void find(const double *a, int64_t begin, int64_t row, int64_t height, int64_t width, Points *points) {
    for (int32_t i = 0; i < STRETCH; i++) {
        double u = (int32_t)begin + i + 0.5, v = (int32_t)row + 0.5, depth = a[6] * u + a[7] * v + 1;
        double x = (a[0] * u + a[1] * v + a[2]) / depth, y = (a[3] * u + a[4] * v + a[5]) / depth;
        int32_t inside = (x >= 0) & (x < width) & (y >= 0) & (y < height);
        x = inside ? x - 0.5 : 0;
        y = inside ? y - 0.5 : 0;
        int32_t left = round_down(x), top = round_down(y);
        points->left[i] = left - 1;
        points->top[i] = top - 1;
        points->inside[i] = inside;
        points->dx[i] = x - left;
        points->dy[i] = y - top;
    }
}

// A column of four pixels, from the left or the right halves of four rows of them.
static inline Shorts pick(Words upper, Words lower, int second) {
    Words pixels = second ? __builtin_shufflevector(upper, lower, 2, 3, 6, 7)
                          : __builtin_shufflevector(upper, lower, 0, 1, 4, 5);
    return __builtin_convertvector((Bytes)pixels, Shorts);
}

// Horner's rule; what the terms are made of is exact across, where they are whole, and rounded in this order down.
static inline Reals cubic_across(Shorts a, Shorts b, Shorts c, Shorts d, double t) {
    Shorts rise = b - a, cube = rise + (d - c), square = -(cube + rise);
    Reals steep = __builtin_convertvector(square, Reals) + t * __builtin_convertvector(cube, Reals);
    return __builtin_convertvector(b, Reals) + t * (__builtin_convertvector(c - a, Reals) + t * steep);
}

static inline Colour cubic_down(Colour a, Colour b, Colour c, Colour d, double t) {
    return b + t * (-a + c + t * (2 * (a - b) + c - d + t * (-a + b - c + d)));
}

static inline Colour interpolate(const uint8_t *from, int64_t step, double dx, double dy) {
    Words row[SIDE];
    for (int i = 0; i < SIDE; i++) {
        Bytes bytes = load(from + i * step);
        row[i] = (Words)__builtin_shufflevector(bytes, bytes, 0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
    }
    Words upper_left = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
    Words lower_left = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
    Words upper_right = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
    Words lower_right = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
    Reals rows = cubic_across(pick(upper_left, lower_left, 0), pick(upper_left, lower_left, 1),
                              pick(upper_right, lower_right, 0), pick(upper_right, lower_right, 1), dx);
    return cubic_down(__builtin_shufflevector(rows, rows, 0, 1, 2, 3), __builtin_shufflevector(rows, rows, 4, 5, 6, 7),
                      __builtin_shufflevector(rows, rows, 8, 9, 10, 11),
                      __builtin_shufflevector(rows, rows, 12, 13, 14, 15), dy);
}

// The sixteen pixels where some of them lie beyond the picture: its edge goes on.
static void take_edge(const uint8_t *pixels, int64_t height, int64_t width, int64_t left, int64_t top, uint8_t *to) {
    for (int y = 0; y < SIDE; y++) {
        const uint8_t *row = pixels + clamp(top + y, 0, height - 1) * width * CHANNELS;
        for (int x = 0; x < SIDE; x++)
            memcpy(to + y * LANES + x * CHANNELS, row + clamp(left + x, 0, width - 1) * CHANNELS, CHANNELS);
    }
}

static inline Pixel look(const uint8_t *pixels, int64_t height, int64_t width, const Points *points, int64_t i) {
    int64_t left = points->left[i], top = points->top[i], step = width * CHANNELS, at = top * step + left * CHANNELS;
    int within = (left >= 0) & (top >= 0) & (left + SIDE <= width) & (top + SIDE <= height);
    Colour colour;
    if (within & (at + (SIDE - 1) * step + LANES <= height * step)) {  // four pixels are read as sixteen bytes
        colour = interpolate(pixels + at, step, points->dx[i], points->dy[i]);
    } else {
        uint8_t edge[SIDE * LANES] = {0};
        take_edge(pixels, height, width, left, top, edge);
        colour = interpolate(edge, LANES, points->dx[i], points->dy[i]);
    }
    colour = __builtin_elementwise_min(__builtin_elementwise_max(colour, (Colour){0}), (Colour){0} + 255);
    return __builtin_convertvector(__builtin_convertvector(colour, Levels), Pixel) & (uint8_t)-points->inside[i];
}

// `out` of height x width; its pixel centres (u, v) are seen at
// ((a0 u + a1 v + a2) / (a6 u + a7 v + 1), (a3 u + a4 v + a5) / (a6 u + a7 v + 1)), and black beyond the picture.
void transform_perspective(const uint8_t *pixels, int64_t source_height, int64_t source_width, const double *a,
                           int64_t height, int64_t width, uint8_t *out) {
    for (int64_t row = 0; row < height; row++) {
        for (int64_t begin = 0; begin < width; begin += STRETCH) {
            Points points;
            uint8_t line[STRETCH * CHANNELS + 1];
            int64_t count = smaller(width - begin, STRETCH);
            find(a, begin, row, source_height, source_width, &points);
            for (int64_t i = 0; i < count; i++) {
                Pixel pixel = look(pixels, source_height, source_width, &points, i);
                memcpy(line + i * CHANNELS, &pixel, sizeof pixel);  // the next one covers the lane to spare
            }
            memcpy(out + (row * width + begin) * CHANNELS, line, count * CHANNELS);
        }
    }
}

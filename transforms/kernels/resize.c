// Pillow's resize of RGB pictures: across first, to eight bits, and then down.
//
// source ─[sixteen rows, transposed]→ standing ─[weighed sums]→ scaled ─[transposed back]→ ring ─[sums]→ target
//
// Source: https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c

#include <stdlib.h>

#include "axis.h"
#include "vectors.h"

enum { FRACTION_BITS = 22, STRIP = 4 * LANES, STANDING_PIXELS = 1024 };

typedef int32_t Sums __attribute__((vector_size(LANES * 4)));

typedef struct {
    const uint8_t *pixels;
    int64_t height, width;
    uint8_t *standing;     // a stretch of sixteen rows of the source, transposed
    uint8_t *scaled;       // sixteen rows of the target, transposed
    uint8_t *ring;         // rows of the target's width, to be scaled down
    int64_t ring_rows;     // a multiple of sixteen
    int64_t step;          // bytes from row to row: a multiple of a strip
    const uint8_t **rows;  // those that make one of the target
} Work;

static inline Sums half(void) { return (Sums){0} + (1 << (FRACTION_BITS - 1)); }

static inline Sums add(Sums sum, const uint8_t *from, int32_t weight) {
    return sum + __builtin_convertvector(load(from), Sums) * weight;
}

static inline void store(Sums sum, uint8_t *to) {
    sum = __builtin_elementwise_max(sum >> FRACTION_BITS, (Sums){0});
    Bytes bytes = __builtin_convertvector(__builtin_elementwise_min(sum, (Sums){0} + 255), Bytes);
    memcpy(to, &bytes, sizeof bytes);
}

// Sixteen rows of sixteen bytes become columns, in four rounds of shuffling one half into the other.
static void transpose(const uint8_t *const from[LANES], uint8_t *to, int64_t step) {
    Bytes rows[LANES], mixed[LANES];
    for (int i = 0; i < LANES; i++) rows[i] = load(from[i]);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < LANES / 2; i++) {
            Bytes a = rows[i], b = rows[i + LANES / 2];
            mixed[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            mixed[2 * i + 1] =
                __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        memcpy(rows, mixed, sizeof rows);
    }
    for (int i = 0; i < LANES; i++) memcpy(to + i * step, &rows[i], sizeof rows[i]);
}

// A stretch of sixteen rows from `top`. Below the picture its last row is taken again; nothing beyond it is read.
static void stand(const Work *work, int64_t top, int64_t first, int64_t stop) {
    int64_t length = (stop - first) * CHANNELS;
    for (int64_t at = 0; at < length; at += LANES) {
        const uint8_t *from[LANES];
        uint8_t end[LANES][LANES];
        for (int i = 0; i < LANES; i++) {
            from[i] = work->pixels + (smaller(top + i, work->height - 1) * work->width + first) * CHANNELS + at;
            if (length - at < LANES) from[i] = memcpy(end[i], from[i], length - at);
        }
        transpose(from, work->standing + at * LANES, LANES);
    }
}

static void sum_column(const uint8_t *from, int64_t count, const int32_t *weights, uint8_t *to) {
    Sums red = half(), green = half(), blue = half();
    for (int64_t i = 0; i < count; i++, from += CHANNELS * LANES) {
        red = add(red, from, weights[i]);
        green = add(green, from + LANES, weights[i]);
        blue = add(blue, from + 2 * LANES, weights[i]);
    }
    store(red, to);
    store(green, to + LANES);
    store(blue, to + 2 * LANES);
}

// The first column that a stretch from the taps of `column` on does not serve; it serves at least one.
static int64_t end_of_stretch(const Axis *across, int64_t column) {
    int64_t next = column + 1, limit = across->first[column] + STANDING_PIXELS;
    while (next < across->length && across->first[next] + across->count[next] <= limit) next++;
    return next;
}

static void scale_across(const Work *work, const Axis *across, int64_t top, uint8_t *to) {
    for (int64_t column = 0; column < across->length;) {
        int64_t next = end_of_stretch(across, column), first = across->first[column];
        stand(work, top, first, across->first[next - 1] + across->count[next - 1]);
        for (; column < next; column++)
            sum_column(work->standing + (across->first[column] - first) * CHANNELS * LANES, across->count[column],
                       across->weights + column * across->most, work->scaled + column * CHANNELS * LANES);
    }
    for (int64_t at = 0; at < work->step; at += LANES) {
        const uint8_t *from[LANES];
        for (int i = 0; i < LANES; i++) from[i] = work->scaled + (at + i) * LANES;
        transpose(from, to + at, work->step);
    }
}

static void sum_rows(const uint8_t *const rows[], int64_t count, const int32_t *weights, int64_t length, uint8_t *to) {
    for (int64_t at = 0; at < length; at += STRIP) {
        Sums sums[STRIP / LANES] = {half(), half(), half(), half()};
        uint8_t strip[STRIP];
        for (int64_t i = 0; i < count; i++)
            for (int j = 0; j < STRIP / LANES; j++) sums[j] = add(sums[j], rows[i] + at + j * LANES, weights[i]);
        for (int j = 0; j < STRIP / LANES; j++) store(sums[j], strip + j * LANES);
        memcpy(to + at, strip, smaller(length - at, STRIP));
    }
}

static void scale(const Work *work, const Axis *across, const Axis *down, uint8_t *out) {
    int64_t length = across->length * CHANNELS, begin = down->first[0], next = begin;
    for (int64_t y = 0; y < down->length; y++, out += length) {
        for (; next < down->first[y] + down->count[y]; next += LANES)
            scale_across(work, across, next, work->ring + (next - begin) % work->ring_rows * work->step);
        for (int64_t i = 0; i < down->count[y]; i++)
            work->rows[i] = work->ring + (down->first[y] + i - begin) % work->ring_rows * work->step;
        sum_rows(work->rows, down->count[y], down->weights + y * down->most, length, out);
    }
}

static int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// Of a picture scaled to whole_height x whole_width, the part of height x width at (top, left).
// Returns whether there was memory for it.
int resize(const uint8_t *pixels, int64_t source_height, int64_t source_width, int64_t whole_height,
           int64_t whole_width, int64_t top, int64_t left, int64_t height, int64_t width, int filter, uint8_t *out) {
    Axis across = make_axis(source_width, whole_width, left, width, filter);
    Axis down = make_axis(source_height, whole_height, top, height, filter);
    int64_t standing = across.most > STANDING_PIXELS ? across.most : STANDING_PIXELS;
    int64_t ring_rows = round_up(down.most, LANES) + LANES, step = round_up(width * CHANNELS, STRIP);
    Work work = {pixels, source_height, source_width, malloc((standing + LANES) * CHANNELS * LANES),
                 malloc(step * LANES), malloc(ring_rows * step), ring_rows, step, malloc(down.most * sizeof(void *))};
    int enough = across.weights && down.weights && work.standing && work.scaled && work.ring && work.rows;
    if (enough) scale(&work, &across, &down, out);
    free_axis(across);
    free_axis(down);
    free(work.standing);
    free(work.scaled);
    free(work.ring);
    free(work.rows);
    return enough;
}

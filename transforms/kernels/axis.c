// Pillow's filters in fixed point.
// Source: https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c

#include "axis.h"

#include <math.h>
#include <stdlib.h>

#include "vectors.h"

enum { ONE = 1 << 22, NEAREST = 3 };

static double bilinear(double x) { return fabs(x) < 1 ? 1 - fabs(x) : 0; }

static double bicubic(double x) {
    x = fabs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

static double sinc(double x) { return x == 0 ? 1 : sin(x * M_PI) / (x * M_PI); }

static double lanczos(double x) { return -3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0; }

static const struct {
    double (*weight)(double);
    double reach;
} FILTERS[] = {{bilinear, 1}, {bicubic, 2}, {lanczos, 3}, {NULL, 0}};  // in the order of `Interpolation`

// Position after position, with the error that adding up makes.
static void take_nearest(Axis axis, int64_t source, double scale, int64_t begin) {
    double at = scale * 0.5;
    for (int64_t i = 0; i < begin; i++) at += scale;
    for (int64_t i = 0; i < axis.length; i++, at += scale) {
        axis.first[i] = smaller((int64_t)at, source - 1);
        axis.count[i] = 1;
        axis.weights[i] = ONE;
    }
}

static void weigh(Axis axis, int64_t source, double scale, int64_t begin, int filter, double *scratch) {
    double stretch = scale < 1 ? 1 : scale, reach = FILTERS[filter].reach * stretch;
    for (int64_t i = 0; i < axis.length; i++) {
        double centre = ((double)(begin + i) + 0.5) * scale, sum = 0;
        int64_t first = clamp((int64_t)(centre - reach + 0.5), 0, source);
        int64_t count = clamp((int64_t)(centre + reach + 0.5), 0, source) - first;
        for (int64_t k = 0; k < count; k++)
            sum += scratch[k] = FILTERS[filter].weight(((double)(first + k) - centre + 0.5) * (1.0 / stretch));
        for (int64_t k = 0; k < count; k++) {
            double weight = (sum != 0 ? scratch[k] / sum : scratch[k]) * ONE;
            axis.weights[i * axis.most + k] = (int32_t)(weight < 0 ? weight - 0.5 : weight + 0.5);
        }
        axis.first[i] = first;
        axis.count[i] = count;
    }
}

Axis make_axis(int64_t source, int64_t target, int64_t begin, int64_t length, int filter) {
    double scale = (double)source / (double)target, reach = FILTERS[filter].reach * (scale < 1 ? 1 : scale);
    int64_t most = smaller((int64_t)ceil(reach) * 2 + 1, source);
    Axis axis = {length, most, malloc(length * sizeof(int64_t)), malloc(length * sizeof(int64_t)),
                 malloc(length * most * sizeof(int32_t))};
    double *scratch = malloc(most * sizeof(double));
    if (!axis.first || !axis.count || !axis.weights || !scratch) {
        free_axis(axis);
        axis = (Axis){0};
    } else if (filter == NEAREST) {
        take_nearest(axis, source, scale, begin);
    } else {
        weigh(axis, source, scale, begin, filter, scratch);
    }
    free(scratch);
    return axis;
}

void free_axis(Axis axis) {
    free(axis.first);
    free(axis.count);
    free(axis.weights);
}

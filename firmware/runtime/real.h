/**
 * Floating point functions, so that no C library is needed.
 *
 * They compute in double precision and round once, which is within one unit in the last
 * place of the C library's single-precision functions.
 */
#ifndef KM_REAL_H
#define KM_REAL_H

#include <stdint.h>

/** e to the x. */
float km_exp(float x);

/** x to the y, with the special cases of C's powf. */
float km_pow(float x, float y);

/** Largest integer not above x, for |x| < 2^31. */
int32_t km_floor(float x);

/** Smallest integer not below x, for |x| < 2^31. */
int32_t km_ceil(float x);

/** Nearest integer, halves away from zero, for |x| < 2^31. */
int32_t km_round(float x);

/**
 * Nearest integer, halves to even; the least for what is too large or not a number, as
 * on x86, where nncase's simulator runs.
 */
static inline int32_t km_to_nearest(float x) {
    const float limit = 0x1p31f;
    if (!(x < limit)) {
        return INT32_MIN;
    }
#if defined(__riscv)
    int32_t nearest; /* saturates by itself */
    __asm__("fcvt.w.s %0, %1, rne" : "=r"(nearest) : "f"(x));
    return nearest;
#else
    return x < -limit ? INT32_MIN : (int32_t)__builtin_lrintf(x);
#endif
}

/** Clamps as nncase does: first to `high`, then to `low`. */
static inline float km_clamp(float x, float low, float high) {
    x = high < x ? high : x;
    return x < low ? low : x;
}

#endif

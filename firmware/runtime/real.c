#include "real.h"

#include <stdbool.h>
#include <string.h>

/* ln 2 in two parts, the first exact in few bits, so that n * LN2_HIGH is exact. */
static const double LN2_HIGH = 0x1.62e42fefa3800p-1;
static const double LN2_LOW = 0x1.ef35793c76730p-45;
static const double LOG2_E = 0x1.71547652b82fep+0;
static const double SQRT2 = 0x1.6a09e667f3bcdp+0;

enum {
    EXPONENT_BIAS = 1023,
    MANTISSA_BITS = 52,
    EXP_TERMS = 13,
    LOG_TERMS = 21,
    MAX_EXPONENT = 1000, /* far beyond single precision, within double */
};

static double from_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t to_bits(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* e to the x: 2^n times a Taylor series on [-ln 2 / 2, ln 2 / 2]. */
static double exp_double(double x) {
    double scaled = x * LOG2_E;
    if (scaled > MAX_EXPONENT) {
        scaled = MAX_EXPONENT;
        x = scaled / LOG2_E;
    } else if (scaled < -MAX_EXPONENT) {
        scaled = -MAX_EXPONENT;
        x = scaled / LOG2_E;
    }
    int32_t n = (int32_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    double r = (x - n * LN2_HIGH) - n * LN2_LOW;
    double sum = 1;
    for (int32_t i = EXP_TERMS; i > 0; i--) {
        sum = 1 + sum * r / i;
    }
    return sum * from_bits((uint64_t)(n + EXPONENT_BIAS) << MANTISSA_BITS);
}

/* Natural logarithm of a positive, finite, normal x. */
static double log_double(double x) {
    uint64_t bits = to_bits(x);
    int32_t n = (int32_t)(bits >> MANTISSA_BITS) - EXPONENT_BIAS;
    uint64_t mantissa = bits & ((UINT64_C(1) << MANTISSA_BITS) - 1);
    double m = from_bits(mantissa | (uint64_t)EXPONENT_BIAS << MANTISSA_BITS);
    if (m > SQRT2) {
        m /= 2;
        n++;
    }
    double s = (m - 1) / (m + 1);
    double sum = 0;
    for (int32_t i = LOG_TERMS; i > 0; i -= 2) {
        sum = sum * s * s + 1.0 / i;
    }
    return (2 * s * sum + n * LN2_LOW) + n * LN2_HIGH;
}

float km_exp(float x) { return x != x ? x : (float)exp_double(x); }

static bool is_whole(float x) {
    const float exact = 0x1p24f; /* from here on every float is a whole, even number */
    return x >= exact || x <= -exact || x == (float)(int32_t)x;
}

static bool is_odd(float x) {
    const float exact = 0x1p24f;
    return x < exact && x > -exact && ((int32_t)x & 1) != 0;
}

float km_pow(float x, float y) {
    if (y == 0 || x == 1) {
        return 1;
    }
    if (x != x || y != y) {
        return x + y;
    }
    double magnitude = x < 0 ? -(double)x : (double)x;
    bool negative = (to_bits(x) >> 63) != 0 && is_whole(y) && is_odd(y);
    if (x < 0 && magnitude < __builtin_inf() && !is_whole(y)) {
        return __builtin_nanf("");
    }
    double result;
    if (magnitude == 0 || magnitude > 0x1p200) {
        result = (magnitude == 0) == (y > 0) ? 0 : __builtin_inf();
    } else if (y > 0x1p100f || y < -0x1p100f) {
        result = magnitude == 1 ? 1 : (magnitude > 1) == (y > 0) ? __builtin_inf() : 0;
    } else {
        result = exp_double(y * log_double(magnitude));
    }
    return (float)(negative ? -result : result);
}

int32_t km_floor(float x) {
    int32_t whole = (int32_t)x;
    return whole - ((float)whole > x);
}

int32_t km_ceil(float x) {
    int32_t whole = (int32_t)x;
    return whole + ((float)whole < x);
}

int32_t km_round(float x) {
    int32_t whole = (int32_t)x; /* the rest is exact: both have the same exponent */
    float rest = x - (float)whole;
    return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

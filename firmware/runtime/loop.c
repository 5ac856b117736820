#include "loop.h"

#include <string.h>

typedef uint64_t __attribute__((may_alias)) aliased_u64;
typedef uint32_t __attribute__((may_alias)) aliased_u32;
typedef uint16_t __attribute__((may_alias)) aliased_u16;

void km_loop_start(struct km_loop *loop, const uint32_t *shape, uint32_t rank) {
    loop->operands = 0;
    loop->rank = rank;
    for (uint32_t i = 0; i < rank; i++) {
        loop->shape[i] = shape[i];
    }
}

void km_loop_add(struct km_loop *loop, void *data, const uint32_t *strides,
                 uint32_t size) {
    loop->at[loop->operands] = data;
    loop->step[loop->operands] = (ptrdiff_t)size;
    for (uint32_t i = 0; i < loop->rank; i++) {
        loop->outer[loop->operands][i] = (ptrdiff_t)strides[i] * (ptrdiff_t)size;
    }
    loop->operands++;
}

/* Whether axis `outer` steps, in every operand, over the whole of axis `inner`. */
static bool mergeable(const struct km_loop *loop, uint32_t outer, uint32_t inner) {
    for (uint32_t i = 0; i < loop->operands; i++) {
        ptrdiff_t whole = loop->outer[i][inner] * (ptrdiff_t)loop->shape[inner];
        if (loop->outer[i][outer] != whole) {
            return false;
        }
    }
    return true;
}

static void set_axis(struct km_loop *loop, uint32_t to, uint32_t from) {
    for (uint32_t i = 0; i < loop->operands; i++) {
        loop->outer[i][to] = loop->outer[i][from];
    }
}

void km_loop_begin(struct km_loop *loop) {
    uint32_t rank = 0;
    for (uint32_t axis = 0; axis < loop->rank; axis++) {
        if (loop->shape[axis] == 1) {
            continue;
        }
        if (rank > 0 && mergeable(loop, rank - 1, axis)) {
            loop->shape[rank - 1] *= loop->shape[axis];
            set_axis(loop, rank - 1, axis);
            continue;
        }
        loop->shape[rank] = loop->shape[axis];
        set_axis(loop, rank, axis);
        rank++;
    }
    loop->row = 1;
    loop->rank = rank;
    if (rank > 0) {
        loop->rank = rank - 1;
        loop->row = loop->shape[rank - 1];
        for (uint32_t i = 0; i < loop->operands; i++) {
            loop->step[i] = loop->outer[i][rank - 1];
        }
    }
    memset(loop->index, 0, sizeof loop->index);
}

/* Rows shorter than this cost more to go to than to work on. */
enum { SHORT_ROW = 8 };

void km_loop_lengthen(struct km_loop *loop) {
    uint32_t longest = 0;
    for (uint32_t axis = 1; axis < loop->rank; axis++) {
        longest = loop->shape[axis] > loop->shape[longest] ? axis : longest;
    }
    if (loop->rank == 0 || loop->row >= SHORT_ROW ||
        loop->shape[longest] <= loop->row) {
        return;
    }
    uint32_t row = loop->row;
    loop->row = loop->shape[longest];
    loop->shape[longest] = row;
    for (uint32_t i = 0; i < loop->operands; i++) {
        ptrdiff_t step = loop->step[i];
        loop->step[i] = loop->outer[i][longest];
        loop->outer[i][longest] = step;
    }
}

bool km_loop_next(struct km_loop *loop) {
    for (uint32_t axis = loop->rank; axis-- > 0;) {
        loop->index[axis]++;
        bool wraps = loop->index[axis] == loop->shape[axis];
        ptrdiff_t steps = wraps ? 1 - (ptrdiff_t)loop->shape[axis] : 1;
        for (uint32_t i = 0; i < loop->operands; i++) {
            loop->at[i] += steps * loop->outer[i][axis];
        }
        if (!wraps) {
            return true;
        }
        loop->index[axis] = 0;
    }
    return false;
}

/* Copies whole units of 8 bytes, four at a time. */
static void copy_u64(aliased_u64 *target, const aliased_u64 *source, uint32_t count) {
    for (; count >= 4; count -= 4, target += 4, source += 4) {
        uint64_t a = source[0], b = source[1], c = source[2], d = source[3];
        target[0] = a, target[1] = b, target[2] = c, target[3] = d;
    }
    while (count-- > 0) {
        *target++ = *source++;
    }
}

static void copy_u32(aliased_u32 *target, const aliased_u32 *source, uint32_t count) {
    for (; count >= 4; count -= 4, target += 4, source += 4) {
        uint32_t a = source[0], b = source[1], c = source[2], d = source[3];
        target[0] = a, target[1] = b, target[2] = c, target[3] = d;
    }
    while (count-- > 0) {
        *target++ = *source++;
    }
}

static void copy_u16(aliased_u16 *target, const aliased_u16 *source, uint32_t count) {
    for (; count >= 2; count -= 2, target += 2, source += 2) {
        uint16_t a = source[0], b = source[1];
        target[0] = a, target[1] = b;
    }
    while (count-- > 0) {
        *target++ = *source++;
    }
}

void km_copy_bytes(void *target, const void *source, uint32_t count) {
    uint8_t *to = target;
    const uint8_t *from = source;
    uintptr_t misaligned = (uintptr_t)to ^ (uintptr_t)from;
    if ((misaligned & 3) == 0) {
        uint32_t unit = (misaligned & 7) == 0 ? 8 : 4;
        while (count > 0 && ((uintptr_t)to & (unit - 1)) != 0) {
            *to++ = *from++;
            count--;
        }
        uint32_t whole = count & ~(unit - 1);
        if (unit == 8) {
            copy_u64((aliased_u64 *)to, (const aliased_u64 *)from, whole / 8);
        } else {
            copy_u32((aliased_u32 *)to, (const aliased_u32 *)from, whole / 4);
        }
        to += whole, from += whole, count -= whole;
    }
    for (; count >= 4; count -= 4, to += 4, from += 4) {
        uint8_t a = from[0], b = from[1], c = from[2], d = from[3];
        to[0] = a, to[1] = b, to[2] = c, to[3] = d;
    }
    while (count-- > 0) {
        *to++ = *from++;
    }
}

void km_copy_row(uint8_t *target, ptrdiff_t target_step, const uint8_t *source,
                 ptrdiff_t source_step, uint32_t size, uint32_t count) {
    if (target_step == (ptrdiff_t)size && source_step == (ptrdiff_t)size) {
        km_copy_bytes(target, source, size * count);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (size == 1) {
            *target = *source;
        } else if (size == 2) {
            copy_u16((aliased_u16 *)target, (const aliased_u16 *)source, 1);
        } else if (size == 4) {
            *(aliased_u32 *)target = *(const aliased_u32 *)source;
        } else {
            *(aliased_u64 *)target = *(const aliased_u64 *)source;
        }
        target += target_step, source += source_step;
    }
}

void km_copy_lines(uint8_t *target, ptrdiff_t target_step, const uint8_t *source,
                   ptrdiff_t source_step, uint32_t width, uint32_t lines) {
    uintptr_t misaligned = (uintptr_t)target | (uintptr_t)source | width |
                           (uintptr_t)target_step | (uintptr_t)source_step;
    for (; lines > 0; lines--, target += target_step, source += source_step) {
        if ((misaligned & 7) == 0) {
            copy_u64((aliased_u64 *)target, (const aliased_u64 *)source, width / 8);
        } else if ((misaligned & 3) == 0) {
            copy_u32((aliased_u32 *)target, (const aliased_u32 *)source, width / 4);
        } else if ((misaligned & 1) == 0) {
            copy_u16((aliased_u16 *)target, (const aliased_u16 *)source, width / 2);
        } else {
            km_copy_bytes(target, source, width);
        }
    }
}

/**
 * The chip's memory map, as far as this firmware uses it.
 *
 * Facts: the register headers of the vendor's SDK.
 */
#ifndef K210_H
#define K210_H

#include <stddef.h>
#include <stdint.h>

#define K210_CLINT_BASE 0x02000000u
#define K210_KPU_BASE 0x40800000u
#define K210_DMAC_BASE 0x50000000u
#define K210_UART3_BASE 0x50230000u
#define K210_FPIOA_BASE 0x502b0000u
#define K210_SYSCTL_BASE 0x50440000u
#define K210_SPI3_BASE 0x54000000u

#define K210_MEMORY_BASE 0x80000000u
#define K210_UNCACHED_OFFSET 0x40000000u
#define K210_CPU_HZ 400000000u

/** The same bytes past the cache, as a peripheral sees them. */
static inline void *k210_uncached(const void *cached) {
    return (void *)((uintptr_t)cached - K210_UNCACHED_OFFSET);
}

#endif

#include "clint.h"

#include "k210.h"

enum {
    MTIMECMP_OFFSET = 0x4000,
    MTIME_OFFSET = 0xbff8,
    MIE_TIMER = 1u << 7,
    TICKS_PER_US = CLINT_HZ / 1000000u,
};

static volatile uint64_t *const mtimecmp = (void *)(K210_CLINT_BASE + MTIMECMP_OFFSET);
static volatile uint64_t *const mtime = (void *)(K210_CLINT_BASE + MTIME_OFFSET);

uint64_t clint_time(void) { return *mtime; }

void clint_sleep_until(uint64_t time) {
    /* With mstatus.MIE clear, wfi wakes on the timer but takes no interrupt. */
    uint64_t timer = MIE_TIMER;

    *mtimecmp = time;
    __asm__ volatile("csrs mie, %0\n\twfi\n\tcsrc mie, %0" : : "r"(timer) : "memory");
}

void clint_wait_us(uint32_t microseconds) {
    uint64_t end = clint_time() + (uint64_t)microseconds * TICKS_PER_US;

    while (clint_time() < end) {
        clint_sleep_until(end);
    }
}

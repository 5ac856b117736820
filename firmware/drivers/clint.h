/**
 * The timer MTIME, and waiting for it.
 */
#ifndef CLINT_H
#define CLINT_H

#include <stdint.h>

/** MTIME's ticks per second. */
#define CLINT_HZ 8000000u

/** Ticks since power-on. */
uint64_t clint_time(void);

/** Sleep until MTIME reaches `time`, or less if something else happens. */
void clint_sleep_until(uint64_t time);

/** Wait at least so many microseconds. */
void clint_wait_us(uint32_t microseconds);

#endif

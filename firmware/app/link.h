/**
 * The link's streams on the UART.
 */
#ifndef LINK_H
#define LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Set up the line and wait for a host. */
void link_init(void);

/** Take in what has arrived and send what is due; costs little when nothing is. */
void link_poll(void);

/** Forget what a host before this one asked for; call before each request. */
void link_begin(void);

/** Have something done while link_read() waits; it returns whether it did anything. */
void link_set_background(bool (*work)(void));

/** Wait for a moment; false if a new host has said hello meanwhile. */
bool link_wait(void);

/** Wait for bytes; false if a new host has said hello meanwhile. */
bool link_read(uint8_t *data, size_t length);

/** Skip bytes; false as link_read(). */
bool link_skip(size_t length);

/** Send bytes; false as link_read(). */
bool link_write(const uint8_t *data, size_t length);

/** Wait until the host has all that was sent; false if it does not confirm it. */
bool link_flush(void);

/** Change the baud rate; falls back to the first one if no host says hello. */
void link_set_baud(uint32_t baud);

#endif

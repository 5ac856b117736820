/**
 * The serial line to the host: UART3 on the pins of the boards' USB adapter, 8N1.
 *
 * DMA puts what arrives into a ring of UART_RING_SIZE bytes, whatever the core does
 * meanwhile; what is not read before the ring has come round is lost. DMA also sends.
 */
#ifndef UART_H
#define UART_H

#include <stddef.h>
#include <stdint.h>

#define UART_RING_SIZE 5120u

/** Take the pins and set the baud rate; up to 2,000,000. */
void uart_init(uint32_t baud);

/** Change the baud rate once everything written has gone out. */
void uart_set_baud(uint32_t baud);

/** Write bytes; returns when the last of them are with DMA, which sends them. */
void uart_write(const uint8_t *data, size_t length);

/** Read at most `room` bytes that have arrived; returns their number. */
size_t uart_read(uint8_t *data, size_t room);

#endif

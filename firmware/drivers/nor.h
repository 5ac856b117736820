/**
 * The SPI NOR flash on SPI3 (W25Q family), polled; read over two wires where they agree
 * with one.
 *
 * A function that writes waits until the flash is done and returns false if that takes
 * longer than the flash is allowed; nor_start_erase() does not wait.
 */
#ifndef NOR_H
#define NOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOR_PAGE 256u
#define NOR_SECTOR 4096u
#define NOR_BLOCK 65536u
#define NOR_UNIQUE_ID_SIZE 8u
/** What the controller's FIFO holds. */
#define NOR_FETCH 128u

/** Set up SPI3 and wake the flash. */
void nor_init(void);

/** Manufacturer, type and capacity (log2 of the bytes), as command 9F gives them. */
void nor_jedec_id(uint8_t id[3]);

/** The flash's serial number. */
void nor_unique_id(uint8_t id[NOR_UNIQUE_ID_SIZE]);

/** Bytes in the flash, after its JEDEC id; 0 if there is none. */
uint32_t nor_size(void);

/**
 * Find out whether two wires read the same at `address` as one; use one from now on if
 * not.
 */
void nor_check_dual(uint32_t address);

/** Begin to read at most NOR_FETCH bytes, which come in while the core does else. */
void nor_fetch(uint32_t address, size_t length);

/** Wait for what nor_fetch() began to read, with the same `length`. */
void nor_take(uint8_t *data, size_t length);

/** Read any range. */
void nor_read(uint32_t address, uint8_t *data, size_t length);

/** Set the 4 KiB sector at `address` to FF. */
bool nor_erase_sector(uint32_t address);

/** Set the 64 KiB block at `address` to FF. */
bool nor_erase_block(uint32_t address);

/** Begin to set the sector or block at `address` to FF. */
void nor_start_erase(uint32_t address, bool block);

/** Whether the flash still erases. */
bool nor_busy(void);

/** How long an erase may take, in microseconds. */
uint32_t nor_erase_limit_us(bool block);

/** Clear the bits that are 0 in `data`; any length. */
bool nor_program(uint32_t address, const uint8_t *data, size_t length);

#endif

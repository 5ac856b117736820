/**
 * Clocks, resets and DMA request routing (SYSCTL).
 */
#ifndef SYSCTL_H
#define SYSCTL_H

#include <stdint.h>

/** Positions of a peripheral in the registers that gate its clock and reset it. */
enum sysctl_peripheral {
    SYSCTL_DMA = 1,
    SYSCTL_KPU = 2,
    SYSCTL_SPI3 = 9,
    SYSCTL_UART3 = 18,
    SYSCTL_FPIOA = 20,
};

/** What may request a DMA transfer. */
enum sysctl_dma_request {
    SYSCTL_REQUEST_UART3_RX = 18,
    SYSCTL_REQUEST_UART3_TX = 19,
    SYSCTL_REQUEST_KPU = 22,
};

/** Run the core at 400 MHz and the slow buses at 200 MHz. */
void sysctl_init(void);

/** Give a peripheral its clock and reset it. */
void sysctl_enable(enum sysctl_peripheral peripheral);

/** Give the KPU its clock, PLL1 at 403 MHz, and reset it. */
void sysctl_start_kpu_clock(void);

/** Let a DMA channel (0 to 5) be paced by these requests. */
void sysctl_route_dma(unsigned channel, enum sysctl_dma_request request);

/** The clock of the UARTs, in hertz. */
uint32_t sysctl_uart_hz(void);

/** The clock of SPI3, in hertz, before its own divider. */
uint32_t sysctl_spi3_hz(void);

/** Reset the chip; does not return. */
void sysctl_reset_chip(void) __attribute__((noreturn));

#endif

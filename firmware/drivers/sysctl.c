#include "sysctl.h"

#include "k210.h"

struct sysctl_registers {
    uint32_t git_id;
    uint32_t clk_freq;
    uint32_t pll[3];
    uint32_t reserved;
    uint32_t pll_lock;
    uint32_t rom_error;
    uint32_t clk_sel[2];
    uint32_t clk_en_central;
    uint32_t clk_en_peripheral;
    uint32_t soft_reset;
    uint32_t peripheral_reset;
    uint32_t clk_threshold[7];
    uint32_t misc;
    uint32_t peripheral;
    uint32_t spi_sleep;
    uint32_t reset_status;
    uint32_t dma_select[2];
};

enum {
    PLL_F_SHIFT = 4,
    PLL_OD_SHIFT = 10,
    PLL_BANDWIDTH_SHIFT = 14,
    PLL_RESET = 1u << 20,
    PLL_POWER = 1u << 21,
    PLL_OUTPUT = 1u << 25,
    PLL_LOCK_SHIFT = 8, /* from one PLL's bits to the next one's */
    PLL0_LOCKED = 3,
    PLL0_CLEAR_SLIP = 1u << 2,
    PLL1_LOCKED = 1u << PLL_LOCK_SHIFT,
    PLL1_CLEAR_SLIP = 2u << PLL_LOCK_SHIFT,
    ACLK_FROM_PLL0 = 1u << 0,
    SPI3_FROM_PLL0 = 1u << 12,
    SPI3_THRESHOLD_MASK = 0xffu << 24,
    CENTRAL_ALL = 0x3f,
    SOFT_RESET = 1u << 0,
    APB0_HALF = 1u << 3,
    DMA_SELECT_BITS = 6,
    DMA_SELECTS_PER_REGISTER = 5,
};

/* 26 MHz / 1 * 62 / 2 = 806 MHz, and half of it for the KPU: as near to 800 MHz and
 * 400 MHz as whole numbers come. */
#define CRYSTAL_HZ 26000000u
#define PLL_F 62u
#define PLL0_OD 2u
#define PLL1_OD 4u
#define PLL_SETTLE_LOOPS 1000u

static volatile struct sysctl_registers *const sysctl = (void *)K210_SYSCTL_BASE;

static void settle(void) {
    for (volatile unsigned i = 0; i < PLL_SETTLE_LOOPS; i++) {
    }
}

static void start_pll(unsigned number, uint32_t od, uint32_t locked,
                      uint32_t clear_slip) {
    volatile uint32_t *pll = &sysctl->pll[number];
    uint32_t setting = (PLL_F - 1) << PLL_F_SHIFT | (od - 1) << PLL_OD_SHIFT |
                       (PLL_F - 1) << PLL_BANDWIDTH_SHIFT;

    *pll = setting;
    *pll = setting | PLL_POWER;
    settle();
    *pll = setting | PLL_POWER | PLL_RESET;
    settle();
    *pll = setting | PLL_POWER;
    while ((sysctl->pll_lock & locked) != locked) {
        sysctl->pll_lock |= clear_slip;
    }
    *pll = setting | PLL_POWER | PLL_OUTPUT;
}

void sysctl_init(void) {
    sysctl->clk_en_central |= CENTRAL_ALL;
    sysctl->clk_sel[0] &= ~ACLK_FROM_PLL0;
    start_pll(0, PLL0_OD, PLL0_LOCKED, PLL0_CLEAR_SLIP);
    /* ACLK = PLL0 / 2, APB0 = ACLK / 2, SPI3 = PLL0 / 2. */
    sysctl->clk_threshold[1] &= ~SPI3_THRESHOLD_MASK;
    sysctl->clk_sel[0] = ACLK_FROM_PLL0 | SPI3_FROM_PLL0 | APB0_HALF;
}

void sysctl_enable(enum sysctl_peripheral peripheral) {
    sysctl->clk_en_peripheral |= 1u << peripheral;
    sysctl->peripheral_reset |= 1u << peripheral;
    settle();
    sysctl->peripheral_reset &= ~(1u << peripheral);
}

void sysctl_start_kpu_clock(void) {
    start_pll(1, PLL1_OD, PLL1_LOCKED, PLL1_CLEAR_SLIP);
    sysctl_enable(SYSCTL_KPU);
}

void sysctl_route_dma(unsigned channel, enum sysctl_dma_request request) {
    unsigned shift = channel % DMA_SELECTS_PER_REGISTER * DMA_SELECT_BITS;
    volatile uint32_t *select = &sysctl->dma_select[channel / DMA_SELECTS_PER_REGISTER];
    uint32_t mask = (1u << DMA_SELECT_BITS) - 1;

    *select = (*select & ~(mask << shift)) | (uint32_t)request << shift;
}

uint32_t sysctl_uart_hz(void) { return CRYSTAL_HZ * PLL_F / PLL0_OD / 4; }

uint32_t sysctl_spi3_hz(void) { return CRYSTAL_HZ * PLL_F / PLL0_OD / 2; }

void sysctl_reset_chip(void) {
    sysctl->soft_reset = SOFT_RESET;
    for (;;) {
        __asm__ volatile("wfi");
    }
}

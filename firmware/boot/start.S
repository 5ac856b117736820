/*
 * Start-up: the ROM jumps here with both harts, interrupts off, nothing set up.
 * Hart 0 clears .bss and calls main(); hart 1 sleeps. The image's identity follows the
 * first instruction, where the build puts it and the host reads it.
 */
    .section .start, "ax"
    .globl _start
_start:
    j       setup
    .balign 8
    .ascii  "K210FWv1"
    .globl  firmware_digest
firmware_digest:
    .space  32

setup:
    csrw    mie, zero
    csrw    mstatus, zero
    la      t0, trap
    csrw    mtvec, t0
    csrr    t0, mhartid
    bnez    t0, park
    li      t0, 0x6000          /* mstatus.FS: the floating-point unit is on */
    csrs    mstatus, t0
    csrw    fcsr, zero
    .option push
    .option norelax
    la      gp, __global_pointer$
    .option pop
    la      sp, __stack_end
    la      t0, __bss_start
    la      t1, __bss_end
1:  bgeu    t0, t1, 2f
    sd      zero, 0(t0)
    addi    t0, t0, 8
    j       1b
2:  call    main

/* main() returned, or this is hart 1. */
park:
    wfi
    j       park

/* An exception: nothing here can mend it. The cause stays in mcause and mepc. */
    .balign 4
trap:
    wfi
    j       trap

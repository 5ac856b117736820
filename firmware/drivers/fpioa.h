/**
 * Which peripheral a pin belongs to (FPIOA).
 */
#ifndef FPIOA_H
#define FPIOA_H

/** What a pin can be, as far as this firmware needs it. */
enum fpioa_function {
    FPIOA_UART3_RX = 68,
    FPIOA_UART3_TX = 69,
};

/** Make an input of IO `pin`, pulled up. */
void fpioa_set_input(unsigned pin, enum fpioa_function function);

/** Make an output of IO `pin`. */
void fpioa_set_output(unsigned pin, enum fpioa_function function);

#endif

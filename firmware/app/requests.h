/**
 * What a host may ask; firmware/README.md has the tables.
 */
#ifndef REQUESTS_H
#define REQUESTS_H

/** Answer requests for ever. */
void requests_serve(void) __attribute__((noreturn));

#endif

/*
 * The firmware proper: serves a host over the link.
 */
#include "link.h"
#include "model.h"
#include "nor.h"
#include "requests.h"
#include "sysctl.h"

int main(void) {
    sysctl_init();
    nor_init();
    model_init();
    link_init();
    requests_serve();
}

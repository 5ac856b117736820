/*
 * Gives a pty the modem lines that it lacks, so that a program which moves DTR and RTS
 * works on it: every move goes to the unix socket named by MODEM_SOCKET, as a line.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void tell(const char *line, int level) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("MODEM_SOCKET");
    char message[16];
    int client = socket(AF_UNIX, SOCK_DGRAM, 0);

    if (path && client >= 0) {
        strncpy(address.sun_path, path, sizeof address.sun_path - 1);
        int length = snprintf(message, sizeof message, "%s %d\n", line, level);
        sendto(client, message, (size_t)length, 0, (struct sockaddr *)&address,
               sizeof address);
    }
    if (client >= 0) {
        close(client);
    }
}

int ioctl(int file, unsigned long request, ...) {
    static int lines;
    int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    va_list arguments;

    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (request == TIOCMGET) {
        *(int *)argument = lines;
        return 0;
    }
    if (request != TIOCMBIS && request != TIOCMBIC) {
        return real(file, request, argument);
    }
    int on = request == TIOCMBIS;
    int changed = *(int *)argument;

    lines = on ? lines | changed : lines & ~changed;
    if (changed & TIOCM_DTR) {
        tell("dtr", on);
    }
    if (changed & TIOCM_RTS) {
        tell("rts", on);
    }
    return 0;
}

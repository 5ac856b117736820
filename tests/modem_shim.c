/*
 * Gives a pty the modem lines that it lacks, so that a program which moves DTR and RTS
 * works on it: every move goes to the unix socket named by MODEM_SOCKET, as a line.
 *
 * A pty lacks time as well. Its bytes are not sent at a rate, so a new rate waits until
 * the old one's bytes have surely been taken. And the program's clocks are slow, so
 * that it does not give up on a board that shares a busy machine.
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
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { SLOWER = 8, SETTLE_US = 300000, NS_PER_S = 1000000000 };

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

int tcsetattr(int file, int how, const struct termios *settings) {
    int (*real)(int, int, const struct termios *) = dlsym(RTLD_NEXT, "tcsetattr");

    usleep(SETTLE_US);
    return real(file, how, settings);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static struct timespec first[2];
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);

    if (status || (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)) {
        return status;
    }
    struct timespec *start = &first[clock == CLOCK_MONOTONIC];

    if (!start->tv_sec) {
        *start = *now;
    }
    long long passed = (now->tv_sec - start->tv_sec) * (long long)NS_PER_S +
                       now->tv_nsec - start->tv_nsec;
    long long shown = start->tv_nsec + passed / SLOWER;

    now->tv_sec = start->tv_sec + shown / NS_PER_S;
    now->tv_nsec = shown % NS_PER_S;
    return 0;
}

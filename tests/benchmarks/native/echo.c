/* The floor: an echo server in C, for one address, in one thread, by level-triggered epoll.
 *
 *     echo tcp|once|udp [ADDRESS]
 *
 * What a careful C programmer would write first, without tricks: for each event one recv() and one
 * send(); what a send() leaves is kept, and sent when there is room; one accept4() for each event of
 * the listening socket. With "once" a connection is closed after its first answer, as by a handler that
 * answers once; else at the end of the client's stream. Prints "listening on URL" on standard error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, CHUNK = 65536 };

/* What could not be sent yet, by descriptor. While there is some, nothing more is read. */
struct rest {
    char *bytes;
    size_t length, sent;
};

static int epoll;
static bool once;
static struct rest *rests;
static char chunk[CHUNK];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int operation, int fd, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, operation, fd, &event)) die("epoll_ctl");
}

static void end(int fd) {
    free(rests[fd].bytes);
    rests[fd] = (struct rest){0};
    close(fd); /* which takes it out of epoll, too */
}

static void keep(int fd, const char *bytes, size_t length) {
    struct rest *rest = &rests[fd];
    if (!(rest->bytes = malloc(length))) die("malloc");
    memcpy(rest->bytes, bytes, length);
    rest->length = length;
    rest->sent = 0;
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void send_rest(int fd) {
    struct rest *rest = &rests[fd];
    ssize_t count = send(fd, rest->bytes + rest->sent, rest->length - rest->sent, MSG_NOSIGNAL);
    if (count < 0) {
        if (errno != EAGAIN) end(fd);
        return;
    }
    rest->sent += count;
    if (rest->sent < rest->length) return;
    if (once) {
        end(fd);
        return;
    }
    free(rest->bytes);
    *rest = (struct rest){0};
    watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

static void answer(int fd) {
    ssize_t count = recv(fd, chunk, CHUNK, 0);
    if (count <= 0) {
        if (count == 0 || errno != EAGAIN) end(fd);
        return;
    }
    ssize_t sent = send(fd, chunk, count, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        end(fd);
    } else if (sent < count) {
        sent = sent < 0 ? 0 : sent;
        keep(fd, chunk + sent, count - sent);
    } else if (once) {
        end(fd);
    }
}

static void take(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    else if (errno != EAGAIN && errno != ECONNABORTED) die("accept4");
}

static void answer_datagram(int fd) {
    struct sockaddr_storage client;
    socklen_t size = sizeof client;
    ssize_t count = recvfrom(fd, chunk, CHUNK, 0, (struct sockaddr *)&client, &size);
    if (count >= 0) sendto(fd, chunk, count, 0, (struct sockaddr *)&client, size);
}

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "";
    bool udp = !strcmp(mode, "udp");
    once = !strcmp(mode, "once");
    struct sockaddr_in address = {.sin_family = AF_INET};
    if ((!udp && !once && strcmp(mode, "tcp")) ||
        inet_pton(AF_INET, count > 2 ? arguments[2] : "127.0.0.1", &address.sin_addr) != 1) {
        fprintf(stderr, "usage: echo tcp|once|udp [ADDRESS]\n");
        return 2;
    }
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (!(rests = calloc(limit.rlim_cur, sizeof *rests))) die("calloc");

    int one = 1;
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0) die("socket");
    if (!udp) setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, size)) die("bind");
    if (!udp && listen(listener, SOMAXCONN)) die("listen");
    if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);

    char host[INET_ADDRSTRLEN];
    getsockname(listener, (struct sockaddr *)&address, &size);
    inet_ntop(AF_INET, &address.sin_addr, host, sizeof host);
    fprintf(stderr, "listening on %s://%s:%d\n", udp ? "udp" : "tcp", host, ntohs(address.sin_port));

    struct epoll_event events[EVENTS];
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        if (ready < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) (udp ? answer_datagram : take)(fd);
            else if (rests[fd].bytes) send_rest(fd);
            else answer(fd);
        }
    }
}

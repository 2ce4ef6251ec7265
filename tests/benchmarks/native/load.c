/* The load: clients of an echo server, in one thread, by epoll. It checks every byte that comes back.
 *
 *     load --port PORT [--address 127.0.0.1] [--mode stream|connect|datagram] [--connections N]
 *          [--size BYTES] [--depth D] [--rate R] [--idle K] [--drip K]
 *          [--seconds S] [--requests R] [--warm-up FRACTION]
 *          [--retry SECONDS] [--patience SECONDS]
 *
 * Modes. stream: N connections that stay; each sends D messages in one write, waits for all D answers,
 * and again. With --rate, instead, so many messages a second over all connections, which take turns.
 * connect: N times at once: connect, send, read the answer and the end of the stream, close. datagram:
 * N sockets, each with one datagram under way; after --retry seconds it counts as lost, and the next is
 * sent. Besides, --idle K: connections that send nothing; --drip K: connections that send a byte a
 * second each, evenly spread.
 *
 * It runs for S seconds or R requests, whichever is first, and before that for a fraction of that which
 * is not counted. It pauses, with nothing under way, for a line on standard input: having printed
 * "connected", then "warm"; so whoever reads the server's clocks can do so exactly around the measured
 * part. Then it prints one JSON object; its connections stay open until standard input ends.
 *
 *     {"requests", "seconds", "errors", "lost", "late", "p50", "p99", "max"}
 *
 * Times of answers are in microseconds, from the message's write (in mode connect: from connect() to
 * the end of the stream; with --rate: from when the message was due). "late": datagrams answered after
 * they were given up; with --rate: messages left out because their connection still waited.
 * Exit status: 1 if there were errors, the first of which is on standard error. No answer at all for the
 * patience of 10 seconds is one, and ends it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "latency.h"
#include "message.h"
#include "options.h"

enum { EVENTS = 256, CHUNK = 262144, PARTY = 50, MOST_ERRORS = 100 };

/* A connection, as two streams of bytes: what is sent, and what is answered, which must be the same. */
struct client {
    int fd;
    bool busy, drips, blocked; /* waits for answers; sends bytes one by one; the socket took no more */
    uint32_t id, first;        /* its number, and that of the first message of the stream */
    uint64_t goal, sent, got;  /* bytes: to be sent so far, sent, answered */
    uint64_t since;            /* nanoseconds: when what it waits for was sent */
};

static int epoll;
static struct client *clients;
static char expected[CHUNK], chunk[CHUNK];
static bool running;
static uint32_t under_way, alive; /* clients that wait for answers; those of the load that can */
static uint64_t issued, limit, finished, errors, lost, late, last_progress;

/* Connections --------------------------------------------------------------------------------- */

static void *allocate(size_t count, size_t each) {
    void *memory = calloc(count ? count : 1, each);
    if (memory) return memory;
    perror("load: calloc");
    exit(1);
}

static void watch(int operation, struct client *client, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(epoll, operation, client->fd, &event)) perror("load: epoll_ctl"), exit(1);
}

static void start(struct client *client);

static void release(struct client *client) {
    if (client->busy) under_way--;
    client->busy = false;
}

/* Strike a client out; in mode connect another takes its place. */
static void fail(struct client *client, const char *what) {
    if (!errors++) fprintf(stderr, "load: connection %u: %s\n", client->id, what);
    if (client->fd >= 0) close(client->fd);
    client->fd = -1;
    release(client);
    if (mode == CONNECT) {
        if (running && errors < MOST_ERRORS) start(client);
        return;
    }
    if (client->id < connections) alive--;
}

static void push(struct client *client) {
    while (client->sent < client->goal) {
        size_t length = client->goal - client->sent < CHUNK ? client->goal - client->sent : CHUNK;
        produce(client->id, client->first, client->sent, length, chunk);
        ssize_t count = send(client->fd, chunk, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0) {
            if (errno != EAGAIN) {
                fail(client, strerror(errno));
            } else if (!client->blocked) {
                client->blocked = true;
                watch(EPOLL_CTL_MOD, client, EPOLLIN | EPOLLOUT);
            }
            return;
        }
        client->sent += count;
    }
    if (client->blocked) {
        client->blocked = false;
        watch(EPOLL_CTL_MOD, client, EPOLLIN);
    }
}

/* Compare what came with what must come; return how many messages are complete by it, -1 on failure. */
static int64_t accept_answer(struct client *client, const char *bytes, size_t length) {
    if (client->got + length > client->sent) {
        fail(client, "an answer to nothing");
        return -1;
    }
    produce(client->id, client->first, client->got, length, expected);
    if (memcmp(bytes, expected, length)) {
        fail(client, "a wrong answer");
        return -1;
    }
    uint64_t before = client->got / size;
    client->got += length;
    return client->got / size - before;
}

/* In mode connect without waiting: what is sent then waits until the connection is there. */
static bool open_connection(struct client *client) {
    struct timeval timeout = {patience, (patience - (time_t)patience) * 1e6};
    int one = 1, type = mode == DATAGRAM ? SOCK_DGRAM : SOCK_STREAM;
    client->fd = socket(AF_INET, type | SOCK_CLOEXEC | (mode == CONNECT ? SOCK_NONBLOCK : 0), 0);
    if (client->fd < 0) return false;
    if (mode == STREAM) {
        setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
        setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    }
    if (mode != DATAGRAM) setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(client->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) return false;
    watch(EPOLL_CTL_ADD, client, EPOLLIN);
    return true;
}

/* One message and its answer, waiting for it. */
static bool converse(struct client *client) {
    client->goal += size;
    push(client);
    while (client->fd >= 0 && client->got < client->goal) {
        ssize_t count = recv(client->fd, chunk, CHUNK, 0);
        if (count <= 0) return false;
        accept_answer(client, chunk, count);
    }
    return client->fd >= 0;
}

/* Connect all that stay. Now and then one has a round trip, so that they don't overrun the backlog. */
static void connect_all(uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        bool asks = mode != DATAGRAM && (i % PARTY == PARTY - 1 || i == count - 1);
        errno = 0;
        if (!open_connection(&clients[i]) || (asks && !converse(&clients[i]))) {
            fprintf(stderr, "load: connection %u of %u: %s\n", i + 1, count, errno ? strerror(errno) : "closed");
            exit(1);
        }
    }
}

/* Have a client send its next messages. */
static void start(struct client *client) {
    if (limit && issued >= limit) {
        running = false;
        return;
    }
    issued += depth;
    client->since = now();
    if (mode != STREAM) { /* a stream of its own for each */
        client->first++;
        client->goal = client->sent = client->got = 0;
    }
    client->busy = true;
    under_way++;
    if (mode == CONNECT) {
        client->blocked = false;
        if (!open_connection(client)) {
            fail(client, strerror(errno));
            return;
        }
    }
    client->goal += depth * size;
    push(client);
}

static void finish(struct client *client) {
    release(client);
    if (running && !rate) start(client);
}

static void receive(struct client *client) {
    ssize_t count = recv(client->fd, chunk, CHUNK, MSG_DONTWAIT);
    if (count < 0) {
        if (errno != EAGAIN) fail(client, strerror(errno));
        return;
    }
    if (!client->drips) last_progress = now();
    if (mode == DATAGRAM) {
        produce(client->id, client->first, 0, size, expected);
        if (client->busy && (uint64_t)count == size && !memcmp(chunk, expected, size)) {
            record(last_progress - client->since, 1);
            finished++;
            finish(client);
        } else if ((uint64_t)count == size && memcmp(chunk, expected, STAMP) < 0) {
            late++; /* the answer to one that was given up */
        } else {
            fail(client, "a wrong answer");
        }
        return;
    }
    if (count == 0) {
        if (mode != CONNECT || client->got < client->goal) {
            fail(client, "closed by the server");
            return;
        }
        /* The server has closed first and keeps the TIME_WAIT, so no port of ours is held. */
        close(client->fd);
        client->fd = -1;
        record(last_progress - client->since, 1);
        finished++;
        finish(client);
        return;
    }
    int64_t complete = accept_answer(client, chunk, count);
    if (complete <= 0 || client->drips || mode == CONNECT) return;
    record(last_progress - client->since, complete);
    finished += complete;
    if (client->got == client->goal) finish(client);
}

/* Turns --------------------------------------------------------------------------------------- */

/* What is due by a clock: the messages of --rate, the bytes of --drip. */
struct ticker {
    int fd;
    double rate;
    uint64_t began, ticks; /* nanoseconds; turns taken */
};

static struct ticker senders, drippers;

static void set_ticker(struct ticker *ticker, double hertz) {
    if (!ticker->rate) return;
    uint64_t ns = hertz ? 1e9 / hertz : 0;
    struct timespec time = {ns / 1000000000, ns % 1000000000};
    struct itimerspec timer = {time, time};
    timerfd_settime(ticker->fd, 0, &timer, NULL);
    ticker->began = now() - ticker->ticks * (ns ? 1e9 / hertz : 0);
}

static void make_ticker(struct ticker *ticker, double hertz) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = ticker};
    ticker->rate = hertz;
    if (!hertz) return;
    ticker->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (ticker->fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, ticker->fd, &event)) perror("load: timerfd"), exit(1);
}

static void tick(struct ticker *ticker) {
    uint64_t expired;
    if (read(ticker->fd, &expired, sizeof expired) != sizeof expired || !running) return;
    for (uint64_t due = (now() - ticker->began) * ticker->rate / 1e9; ticker->ticks < due; ticker->ticks++) {
        if (ticker == &drippers) {
            struct client *client = &clients[connections + ticker->ticks % drip];
            client->goal++;
            if (client->fd >= 0) push(client);
            continue;
        }
        struct client *client = &clients[ticker->ticks % connections];
        if (client->fd < 0) continue;
        if (client->busy) {
            late++;
            continue;
        }
        start(client);
        client->since = ticker->began + ticker->ticks * 1e9 / ticker->rate;
    }
}

/* Give up datagrams without an answer. */
static void give_up(uint64_t time) {
    static uint64_t next;
    if (time < next) return;
    next = time + retry * 1e8;
    for (uint32_t i = 0; i < connections; i++)
        if (clients[i].busy && time - clients[i].since > retry * 1e9) lost++, finish(&clients[i]);
}

/* Run for so many seconds or requests (0: as many as may be), and until nothing is under way. */
static double run(double duration, double count) {
    struct epoll_event events[EVENTS];
    uint64_t began = now();
    last_progress = began, issued = 0, limit = count, running = true;
    set_ticker(&senders, rate);
    set_ticker(&drippers, drip);
    for (uint32_t i = 0; i < connections && !rate; i++)
        if (mode == CONNECT || clients[i].fd >= 0) start(&clients[i]);
    while (running || under_way) {
        int ready = epoll_wait(epoll, events, EVENTS, 10);
        for (int i = 0; i < ready; i++) {
            void *what = events[i].data.ptr;
            if (what == &senders || what == &drippers) {
                tick(what);
                continue;
            }
            struct client *client = what;
            if (client->fd >= 0 && client->blocked && events[i].events & EPOLLOUT) push(client);
            if (client->fd >= 0 && events[i].events & ~EPOLLOUT) receive(client);
        }
        uint64_t time = now();
        if (mode == DATAGRAM) give_up(time);
        if ((duration && time - began >= duration * 1e9) || errors >= MOST_ERRORS || !alive) running = false;
        if (under_way && time - last_progress > (patience + retry) * 1e9) {
            fprintf(stderr, "load: no answer for %g s on %u connections\n", patience, under_way);
            exit(1);
        }
    }
    set_ticker(&senders, 0);
    set_ticker(&drippers, 0);
    return (now() - began) / 1e9;
}

static void pause_for_line(const char *word) {
    puts(word);
    fflush(stdout);
    for (int c = getchar(); c != EOF && c != '\n'; c = getchar()) {}
}

int main(int count, char **arguments) {
    read_options(count, arguments);
    make_filler();
    uint32_t all = connections + drip + idle;
    clients = allocate(all, sizeof *clients);
    for (uint32_t i = 0; i < all; i++)
        clients[i] = (struct client){.fd = -1, .id = i, .drips = i >= connections && i < connections + drip};
    alive = connections;
    if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) perror("load: epoll_create1"), exit(1);
    make_ticker(&senders, rate);
    make_ticker(&drippers, drip);
    if (mode != CONNECT) connect_all(all);
    pause_for_line("connected");

    if (warm_up) run(seconds * warm_up, requests * warm_up);
    pause_for_line("warm");

    forget();
    finished = lost = late = 0;
    double took = run(seconds, requests);
    printf("{\"requests\": %ju, \"seconds\": %.6f, \"errors\": %ju, \"lost\": %ju, \"late\": %ju, "
           "\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}\n",
           (uintmax_t)finished, took, (uintmax_t)errors, (uintmax_t)lost, (uintmax_t)late,
           percentile(0.5), percentile(0.99), longest / 1e3);
    fflush(stdout);
    while (getchar() != EOF) {}
    return errors ? 1 : 0;
}

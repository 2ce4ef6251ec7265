/* The load: clients of an echo server, in one thread, by epoll. It checks every byte that comes back.
 *
 *     load --port PORT [--address 127.0.0.1] [--mode stream|connect|datagram] [--connections N]
 *          [--size BYTES] [--depth D] [--rate R] [--idle K] [--drip K]
 *          [--seconds S] [--requests R] [--warm-up FRACTION] [--retry SECONDS]
 *
 * Modes. stream: N connections that stay; each sends D messages in one write, waits for all D answers,
 * and again. With --rate, instead, so many messages a second over all connections, which take turns.
 * connect: N times at once: connect, send, read the answer and the end of the stream, close. datagram:
 * N sockets, each with one datagram under way; after --retry seconds it counts as lost, and the next is
 * sent. Besides, --idle K: connections that send nothing; --drip K: connections that send a byte a
 * second each, evenly spread.
 *
 * A message is SIZE bytes: its connection and its number in 16 hexadecimal digits, filler, and LF.
 * So no answer can stand in for another, and all messages are lines.
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
 * Exit status: 1 if there were errors, the first of which is on standard error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
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
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, CHUNK = 262144, STAMP = 16, PARTY = 50, MOST_ERRORS = 100 };
enum mode { STREAM, CONNECT, DATAGRAM };
static const char *const modes[] = {"stream", "connect", "datagram"};
static const double PATIENCE = 10; /* seconds without any progress that are an error */

/* A connection, as two streams of bytes: what is sent, and what is answered, which must be the same. */
struct client {
    int fd;
    bool busy, drips, blocked;   /* waits for answers; sends bytes one by one; the socket took no more */
    uint32_t id, first;          /* its number, and that of the first message of the stream */
    uint64_t goal, sent, got;    /* bytes: to be sent so far, sent, answered */
    uint64_t since;              /* nanoseconds: when what it waits for was sent */
};

static enum mode mode = STREAM;
static struct sockaddr_in server = {.sin_family = AF_INET};
static uint32_t connections = 1, idle, drip;
static uint64_t size = 100, depth = 1;
static double rate, seconds, requests, warm_up = 0.2, retry = 0.2;

static int epoll;
static struct client *clients;
static char *template, expected[CHUNK], chunk[CHUNK];
static bool running;
static uint32_t under_way, alive; /* clients that wait for answers; those of the load that can */
static uint64_t issued, limit, finished, errors, lost, late, last_progress;

/* Times --------------------------------------------------------------------------------------- */

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

/* How many answers took how long: exact below 128 ns, then 64 buckets for each power of two. */
static uint64_t buckets[128 + 57 * 64], longest;

static void record(uint64_t ns, uint64_t count) {
    if (ns > longest) longest = ns;
    int exponent = ns < 128 ? 0 : 63 - __builtin_clzll(ns);
    buckets[ns < 128 ? ns : 128 + (exponent - 7) * 64 + (ns >> (exponent - 6)) % 64] += count;
}

static double percentile(double fraction) {
    uint64_t total = 0, below = 0, i;
    for (i = 0; i < sizeof buckets / sizeof *buckets; i++) total += buckets[i];
    for (i = 0; i < sizeof buckets / sizeof *buckets; i++) {
        below += buckets[i];
        if (total && below >= fraction * total) break;
    }
    if (i < 128 || !total) return total ? i / 1e3 : 0;
    int exponent = 7 + (i - 128) / 64;
    return ((64 + (i - 128) % 64 + 0.5) * (1ull << (exponent - 6))) / 1e3;
}

/* Messages ------------------------------------------------------------------------------------ */

static void *allocate(size_t count, size_t each) {
    void *memory = calloc(count ? count : 1, each);
    if (memory) return memory;
    perror("load: calloc");
    exit(1);
}

static void make_template(void) {
    template = allocate(size, 1);
    for (uint64_t i = 0; i < size; i++) template[i] = 'a' + i % 26;
    template[size - 1] = '\n';
}

/* Write the bytes of a client's stream from an offset on. */
static void produce(const struct client *client, uint64_t offset, size_t length, char *out) {
    while (length) {
        uint64_t at = offset % size, number = (uint64_t)client->id << 32 | (uint32_t)(client->first + offset / size);
        size_t count = size - at < length ? size - at : length;
        memcpy(out, template + at, count);
        for (uint64_t i = at; i < STAMP && i < at + count; i++)
            out[i - at] = "0123456789abcdef"[number >> 4 * (STAMP - 1 - i) & 15];
        offset += count, length -= count, out += count;
    }
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
        produce(client, client->sent, length, chunk);
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
    produce(client, client->got, length, expected);
    if (memcmp(bytes, expected, length)) {
        fail(client, "a wrong answer");
        return -1;
    }
    uint64_t before = client->got / size;
    client->got += length;
    return client->got / size - before;
}

/* Clients ------------------------------------------------------------------------------------- */

static bool open_connection(struct client *client) {
    struct timeval patience = {.tv_sec = PATIENCE};
    int one = 1;
    client->fd = socket(AF_INET, (mode == DATAGRAM ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (client->fd < 0) return false;
    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (mode != DATAGRAM) setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(client->fd, (struct sockaddr *)&server, sizeof server)) return false;
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
    last_progress = now();
    if (mode == DATAGRAM) {
        produce(client, 0, size, expected);
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
static void give_up(void) {
    uint64_t time = now();
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
        if (mode == DATAGRAM && ready < EVENTS) give_up();
        if ((duration && time - began >= duration * 1e9) || errors >= MOST_ERRORS || !alive) running = false;
        if (under_way && time - last_progress > (PATIENCE + retry) * 1e9) {
            fprintf(stderr, "load: no answer for %.0f s on %u connections\n", PATIENCE, under_way);
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

/* Command line -------------------------------------------------------------------------------- */

static double number(const char *name, double least, double most) {
    char *end;
    double value = strtod(optarg, &end);
    if (*end || end == optarg || !(value >= least && value <= most)) {
        fprintf(stderr, "load: --%s: expected a number from %g to %g, got '%s'\n", name, least, most, optarg);
        exit(2);
    }
    return value;
}

static void read_options(int count, char **arguments) {
    static const struct option options[] = {
        {"port", 1, 0, 0},     {"address", 1, 0, 0}, {"mode", 1, 0, 0},    {"connections", 1, 0, 0},
        {"size", 1, 0, 0},     {"depth", 1, 0, 0},   {"rate", 1, 0, 0},    {"idle", 1, 0, 0},
        {"drip", 1, 0, 0},     {"seconds", 1, 0, 0}, {"requests", 1, 0, 0}, {"warm-up", 1, 0, 0},
        {"retry", 1, 0, 0},    {0}};
    int index, found;
    bool known;
    inet_pton(AF_INET, "127.0.0.1", &server.sin_addr);
    while ((found = getopt_long(count, arguments, "", options, &index)) == 0) {
        const char *name = options[index].name;
        switch (index) {
        case 0: server.sin_port = htons(number(name, 1, 65535)); break;
        case 1:
            if (inet_pton(AF_INET, optarg, &server.sin_addr) == 1) break;
            fprintf(stderr, "load: --address: expected an IPv4 address, got '%s'\n", optarg);
            exit(2);
        case 2:
            known = false;
            for (int i = 0; i < 3; i++)
                if (!strcmp(optarg, modes[i])) mode = i, known = true;
            if (known) break;
            fprintf(stderr, "load: --mode: expected stream, connect or datagram, got '%s'\n", optarg);
            exit(2);
        case 3: connections = number(name, 1, 1e6); break;
        case 4: size = number(name, STAMP + 1, 1 << 20); break;
        case 5: depth = number(name, 1, 1e4); break;
        case 6: rate = number(name, 1, 1e6); break;
        case 7: idle = number(name, 0, 1e6); break;
        case 8: drip = number(name, 0, 1e6); break;
        case 9: seconds = number(name, 0, 1e5); break;
        case 10: requests = number(name, 0, 1e12); break;
        case 11: warm_up = number(name, 0, 10); break;
        case 12: retry = number(name, 0.01, 60); break;
        }
    }
    const char *wrong = NULL;
    if (found == '?' || optind < count) wrong = "usage: load --port PORT [options]; they are in load.c";
    else if (!server.sin_port) wrong = "--port is missing";
    else if (!seconds && !requests) wrong = "--seconds or --requests is missing";
    else if (mode != STREAM && (depth > 1 || rate || idle || drip)) wrong = "--depth, --rate, --idle and --drip are for --mode stream";
    else if (mode == DATAGRAM && size > 65507) wrong = "--size: a datagram holds 65507 bytes";
    else if (rate && !seconds) wrong = "--rate takes --seconds";
    if (wrong) {
        fprintf(stderr, "load: %s\n", wrong);
        exit(2);
    }
}

int main(int count, char **arguments) {
    read_options(count, arguments);
    make_template();
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

    memset(buckets, 0, sizeof buckets);
    longest = finished = lost = late = 0;
    double took = run(seconds, requests);
    printf("{\"requests\": %ju, \"seconds\": %.6f, \"errors\": %ju, \"lost\": %ju, \"late\": %ju, "
           "\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}\n",
           (uintmax_t)finished, took, (uintmax_t)errors, (uintmax_t)lost, (uintmax_t)late,
           percentile(0.5), percentile(0.99), longest / 1e3);
    fflush(stdout);
    while (getchar() != EOF) {}
    return errors ? 1 : 0;
}

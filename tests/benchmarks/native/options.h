/* The command line of native/load.c, where it is explained. */
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum mode { STREAM, CONNECT, DATAGRAM };
static const char *const modes[] = {"stream", "connect", "datagram"};

static enum mode mode = STREAM;
static struct sockaddr_in server = {.sin_family = AF_INET};
static uint32_t connections = 1, idle, drip;
static uint64_t depth = 1;
static double rate, seconds, requests, warm_up = 0.2, retry = 0.2, patience = 10;

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
        {"port", 1, 0, 0}, {"address", 1, 0, 0}, {"mode", 1, 0, 0}, {"connections", 1, 0, 0},
        {"size", 1, 0, 0}, {"depth", 1, 0, 0}, {"rate", 1, 0, 0}, {"idle", 1, 0, 0}, {"drip", 1, 0, 0},
        {"seconds", 1, 0, 0}, {"requests", 1, 0, 0}, {"warm-up", 1, 0, 0}, {"retry", 1, 0, 0},
        {"patience", 1, 0, 0}, {0},
    };
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
        case 13: patience = number(name, 0.01, 600); break;
        }
    }
    const char *wrong = NULL;
    if (found == '?' || optind < count) wrong = "usage: load --port PORT [options]; they are in load.c";
    else if (!server.sin_port) wrong = "--port is missing";
    else if (!seconds && !requests) wrong = "--seconds or --requests is missing";
    else if (mode != STREAM && (depth > 1 || rate || idle || drip))
        wrong = "--depth, --rate, --idle and --drip are for --mode stream";
    else if (mode == DATAGRAM && size > 65507) wrong = "--size: a datagram holds 65507 bytes";
    else if (rate && !seconds) wrong = "--rate takes --seconds";
    if (wrong) {
        fprintf(stderr, "load: %s\n", wrong);
        exit(2);
    }
}

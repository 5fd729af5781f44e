/* The load for bench/hub.py: readers of server-sent events, and writers of HTTP posts, one thread, epoll.

   load read HOST PORT PATH TOKEN CONNECTIONS
     Opens the streams, prints "ready" when each has its head, then reads. Every delivery is parsed: ids run
     on without a hole, each payload "@<ns>@<writer>@<number>@" comes exactly once and in its writer's order,
     and every 64th is compared byte by byte with what the first stream got. A line with a number K on
     standard input ends the run as soon as every stream has K deliveries. Prints one JSON object.

   load post HOST PORT PATH TOKEN CONNECTIONS SECONDS WARM_UP RATE ITEMS PREFIX ITEM SUFFIX
     Each connection posts one body after the other (RATE 0), or all together RATE requests a second on
     schedule. A body is PREFIX, ITEMS times ITEM with a comma between, SUFFIX; "%" in ITEM becomes the
     payload. Latency counts from the time a request was due. Prints one JSON object.

   Times are those of CLOCK_MONOTONIC, which all processes share. Built by the bench with the C compiler.  */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WRITERS 1024
#define SAMPLE 64

typedef struct {
    int fd, state, head;            /* state: 0 head, 1 chunk size, 2 chunk, 3 after chunk, 4 plain */
    long left;                      /* of the chunk */
    char *line; size_t used, room;  /* what is not a whole line yet */
    long id, last, got;
    int next[WRITERS];
    /* writers */
    int64_t due, busy;
    char *out; size_t size, sent;
    long length, number;
    int64_t first;
} conn;

static conn *conns;
static int count;
static float *lat; static size_t lats, lat_room;
static long total, errors, target = -1, started, finished;
static int64_t first_at, last_at;
static char **samples; static size_t sample_room;

static int64_t now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
static void die(const char *what) { fprintf(stderr, "load: %s: %s\n", what, strerror(errno)); exit(2); }
static void note(int64_t ns) {
    if (lats == lat_room) { lat_room = lat_room ? 2 * lat_room : 1 << 16; lat = realloc(lat, lat_room * sizeof *lat); if (!lat) die("memory"); }
    lat[lats++] = ns / 1e6f;
}
static int by_size(const void *a, const void *b) { float x = *(const float *)a, y = *(const float *)b; return (x > y) - (x < y); }
static double at(double q) { return lats ? lat[(size_t)(q * (lats - 1))] : 0; }

static int dial(const char *host, int port) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
    inet_pton(AF_INET, host, &to.sin_addr);
    for (int tries = 0;; tries++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
        if (fd < 0) die("socket");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) { fcntl(fd, F_SETFL, O_NONBLOCK); return fd; }
        close(fd);
        if (tries > 200) die("connect");
        usleep(20000);
    }
}

static void fault(const char *what, conn *c, const char *line) {
    if (errors++ < 5) fprintf(stderr, "load: stream %d: %s after id %ld: %.80s\n", (int)(c - conns), what, c->last, line);
}

static void take_line(conn *c, char *line, size_t size) {
    if (size && line[size - 1] == '\r') line[--size] = 0;
    if (size > 4 && !memcmp(line, "id: ", 4)) { c->id = atol(line + 4); return; }
    if (size < 6 || memcmp(line, "data: ", 6)) return;
    char *mark = memchr(line, '@', size);
    if (!mark) return;
    char *end;
    int64_t sent = strtoll(mark + 1, &end, 10);
    long writer = strtol(end + 1, &end, 10), number = strtol(end + 1, &end, 10);
    if (*end != '@' || writer < 0 || writer >= WRITERS) { fault("no payload", c, line); return; }
    if (c->last && c->id != c->last + 1) fault("hole", c, line);
    if (number != c->next[writer]) fault("lost or repeated", c, line);
    c->next[writer] = number + 1;
    c->last = c->id;
    c->got++; total++;
    if (c->id % SAMPLE == 0) {
        size_t n = c->id / SAMPLE;
        if (n >= sample_room) {
            size_t room = n * 2 + 1024;
            samples = realloc(samples, room * sizeof *samples);
            memset(samples + sample_room, 0, (room - sample_room) * sizeof *samples);
            sample_room = room;
        }
        if (!samples[n]) samples[n] = strndup(line, size);
        else if (strlen(samples[n]) != size || memcmp(samples[n], line, size)) fault("other bytes", c, line);
    }
    if (sent) {
        int64_t t = now();
        if (!first_at) first_at = t;
        last_at = t;
        if (!(total % (count > 100 ? 16 : 1))) note(t - sent);
        started++;
    }
    if (c->got == target) finished++;
}

static void take_text(conn *c, char *data, size_t size) {
    if (c->used + size + 1 > c->room) { c->room = 2 * (c->used + size) + 4096; c->line = realloc(c->line, c->room); if (!c->line) die("memory"); }
    memcpy(c->line + c->used, data, size);
    c->used += size;
    char *from = c->line, *to = c->line + c->used, *cut;
    while ((cut = memchr(from, '\n', to - from))) { *cut = 0; take_line(c, from, cut - from); from = cut + 1; }
    c->used = to - from;
    memmove(c->line, from, c->used);
}

static int take(conn *c, char *data, size_t size) {
    char *end = data + size;
    while (data < end) {
        switch (c->state) {
        case 0: {   /* the head, byte by byte: it is short */
            if (c->used + 2 > c->room) { c->room += 8192; c->line = realloc(c->line, c->room); }
            c->line[c->used++] = *data++;
            c->line[c->used] = 0;
            if (c->used < 4 || memcmp(c->line + c->used - 4, "\r\n\r\n", 4)) break;
            if (strncmp(c->line, "HTTP/1.1 200", 12)) { fprintf(stderr, "load: %.200s\n", c->line); exit(2); }
            c->state = strcasestr(c->line, "transfer-encoding: chunked") ? 1 : 4;
            c->used = 0; c->head = 1; c->left = 0;
            return 1 + (data < end ? take(c, data, end - data) : 0);
        }
        case 1: {
            char x = *data++;
            if (x == '\n') { if (!c->left) return 0; c->state = 2; }
            else if (x != '\r' && x != ';') c->left = c->left * 16 + (x <= '9' ? x - '0' : (x | 32) - 'a' + 10);
            break;
        }
        case 2: {
            size_t n = end - data; if (n > (size_t)c->left) n = c->left;
            take_text(c, data, n); data += n; c->left -= n;
            if (!c->left) { c->state = 3; }
            break;
        }
        case 3: if (*data++ == '\n') { c->state = 1; c->left = 0; } break;
        default: take_text(c, data, end - data); data = end;
        }
    }
    return 0;
}

static int reading(int argc, char **argv) {
    if (argc != 7) return 2;
    count = atoi(argv[6]); conns = calloc(count, sizeof *conns);
    static char buffer[1 << 20];
    int ep = epoll_create1(0), ready = 0;
    char ask[4096];
    int size = snprintf(ask, sizeof ask, "GET %s HTTP/1.1\r\nHost: %s:%s\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", argv[4], argv[2], argv[3], argv[5]);
    for (int i = 0; i < count; i++) {
        conn *c = conns + i;
        c->fd = dial(argv[2], atoi(argv[3]));
        if (write(c->fd, ask, size) != size) die("write");
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
        epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
    }
    struct epoll_event in = { .events = EPOLLIN, .data.ptr = NULL };
    epoll_ctl(ep, EPOLL_CTL_ADD, 0, &in);
    struct epoll_event events[1024];
    int64_t quiet = now(), told = 0;
    while (target < 0 || finished < count) {
        int n = epoll_wait(ep, events, 1024, 1000);
        for (int i = 0; i < n; i++) {
            conn *c = events[i].data.ptr;
            if (!c) {
                char text[64]; ssize_t got = read(0, text, sizeof text - 1);
                if (got <= 0) {
                    if (target < 0) return 3;
                    epoll_ctl(ep, EPOLL_CTL_DEL, 0, NULL);
                    continue;
                }
                text[got] = 0; target = atol(text); finished = 0;
                for (int j = 0; j < count; j++) finished += conns[j].got >= target;
                continue;
            }
            ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
            if (got == 0 || (got < 0 && errno != EAGAIN)) { fault("cut", c, ""); epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL); finished += target >= 0 && c->got < target; continue; }
            if (got > 0) { ready += take(c, buffer, got); quiet = now(); }
        }
        if (ready >= count && !told) { told = 1; puts("ready"); fflush(stdout); }
        if (now() - quiet > 30000000000LL) { fprintf(stderr, "load: silence; %ld of %ld deliveries\n", total, target * count); errors++; break; }
    }
    qsort(lat, lats, sizeof *lat, by_size);
    printf("{\"deliveries\": %ld, \"counted\": %ld, \"seconds\": %.6f, \"errors\": %ld, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n",
           total, started, (last_at - first_at) / 1e9, errors, at(.5), at(.99), at(1));
    return errors != 0;
}

static void fill(conn *c, char **argv, int64_t due, int counted) {
    int items = atoi(argv[10]);
    char *prefix = argv[11], *item = argv[12], *suffix = argv[13], *gap = strchr(item, '%');
    size_t room = strlen(prefix) + strlen(suffix) + items * (strlen(item) + 400) + 1024;
    char *body = c->out + 600, *to = body;
    (void)room;
    to = stpcpy(to, prefix);
    for (int i = 0; i < items; i++) {
        if (i) *to++ = ',';
        memcpy(to, item, gap - item); to += gap - item;
        char *from = to;
        to += sprintf(to, "@%lld@%ld@%ld@", counted ? (long long)due : 0LL, (long)(c - conns), c->number++);
        while (to - from < 300) *to++ = 'x';
        to = stpcpy(to, gap + 1);
    }
    to = stpcpy(to, suffix);
    char head[600];
    int size = snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: %s:%s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %ld\r\n\r\n", argv[4], argv[2], argv[3], argv[5], (long)(to - body));
    memmove(c->out + size, body, to - body);
    memcpy(c->out, head, size);
    c->size = size + (to - body); c->sent = 0; c->due = due; c->busy = 1; c->used = 0; c->length = -1;
}

static void push(conn *c, int ep) {
    while (c->sent < c->size) {
        ssize_t n = send(c->fd, c->out + c->sent, c->size - c->sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) die("send");
            struct epoll_event e = { .events = EPOLLIN | EPOLLOUT, .data.ptr = c };
            epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
            return;
        }
        c->sent += n;
    }
}

static int posting(int argc, char **argv) {
    if (argc != 14) return 2;
    count = atoi(argv[6]); conns = calloc(count, sizeof *conns);
    double seconds = atof(argv[7]), warm = atof(argv[8]), rate = atof(argv[9]);
    int items = atoi(argv[10]);
    size_t room = 4096 + strlen(argv[11]) + strlen(argv[13]) + items * (strlen(argv[12]) + 400);
    int ep = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        conn *c = conns + i;
        c->fd = dial(argv[2], atoi(argv[3])); c->out = malloc(room); c->line = malloc(c->room = 1 << 16);
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
        epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
    }
    int64_t begin = now(), count_from = begin + warm * 1e9, end = count_from + seconds * 1e9, next = begin;
    long acked = 0, acked_all = 0, bad = 0, busy = 0; int64_t last = begin;
    struct epoll_event events[1024];
    for (;;) {
        int64_t t = now();
        if (t < end) {
            for (int i = 0; i < count; i++) {
                conn *c = conns + i;
                if (c->busy) continue;
                int64_t due = t;
                if (rate > 0) { if (next > t) break; due = next; next += 1e9 / rate; }
                fill(c, argv, due, due >= count_from); busy++; push(c, ep);
            }
        } else if (!busy || t > end + 10000000000LL) break;
        int wait = 1000;
        if (rate > 0 && t < end) { int64_t d = (next - t) / 1000000; wait = d < 0 ? 0 : d > 1000 ? 1000 : (int)d; }
        int n = epoll_wait(ep, events, 1024, wait);
        for (int i = 0; i < n; i++) {
            conn *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) {
                struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
                epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
                push(c, ep);
            }
            if (!(events[i].events & EPOLLIN)) continue;
            ssize_t got = recv(c->fd, c->line + c->used, c->room - c->used - 1, 0);
            if (got <= 0) { if (got < 0 && errno == EAGAIN) continue; fprintf(stderr, "load: a writer was cut\n"); bad++; goto out; }
            c->used += got; c->line[c->used] = 0;
            char *head = strstr(c->line, "\r\n\r\n");
            if (!head) continue;
            char *length = strcasestr(c->line, "content-length:");
            int whole = length && length < head ? c->line + c->used >= head + 4 + atol(length + 15)
                                                : c->used >= 5 && !memcmp(c->line + c->used - 5, "0\r\n\r\n", 5);
            if (!whole) continue;
            if (c->line[9] != '2' && bad++ < 3) fprintf(stderr, "load: %.300s\n", c->line);
            else if (c->line[9] == '2') {
                int64_t done = now();
                acked_all += items;
                if (c->due >= count_from) { acked += items; note(done - c->due); last = done; }
            }
            c->busy = 0; busy--;
        }
    }
out:
    qsort(lat, lats, sizeof *lat, by_size);
    double took = (last - count_from) / 1e9;
    printf("{\"acked\": %ld, \"acked_all\": %ld, \"bad\": %ld, \"seconds\": %.6f, \"per_s\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n",
           acked, acked_all, bad, took, took > 0 ? acked / took : 0, at(.5), at(.99), at(1));
    return bad != 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "read")) return reading(argc, argv);
    if (argc > 1 && !strcmp(argv[1], "post")) return posting(argc, argv);
    return 2;
}

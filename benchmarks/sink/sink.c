/* A fast SMTP server for benchmarks: STARTTLS, PIPELINING, 8BITMIME. Every message is accepted, timed and thrown away.
 *
 *     sink CERTIFICATE KEY RECORD
 *
 * It listens on a free port of 127.0.0.1 and says which: the first line of its output is "port N". RECORD gets a line
 * "NANOSECONDS MESSAGE-ID" for each message, of CLOCK_MONOTONIC, when it is accepted. Orders come by its standard
 * input, one a line, each answered by one line; at the end of its input it ends.
 *
 *     delay MS   hold back the reply to the final dot, as a server does that filters and writes to a disk
 *     count      how many messages were accepted since the last reset
 *     flush      write RECORD out; answers the count
 *     reset      forget the count, empty RECORD
 *
 * One thread, epoll. Known limits: no command but those a client of ours sends; a line above 64 KB is dropped.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "smtp.h"

enum { ORDER_SIZE = 256 };

static int epoll, listener;
static SSL_CTX *tls_context;
static struct client *graveyard;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void want(struct client *client, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (client->interest == events) return;
    epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event);
    client->interest = events;
}

static void bury(struct client *client) {
    if (client->dead) return;
    client->dead = true;
    if (client->tls) SSL_free(client->tls);
    close(client->fd);
    if (client->state == HELD) return; /* the list of the held knows it: buried when its time has come */
    client->next_dead = graveyard;
    graveyard = client;
}

static void empty_graveyard(void) {
    while (graveyard) {
        struct client *client = graveyard;
        graveyard = client->next_dead;
        free(client->in);
        free(client->out);
        free(client);
    }
}

/* Whether to go on; if not, the client waits for the socket or is dead. */
static bool tls_may_go_on(struct client *client, int result) {
    switch (SSL_get_error(client->tls, result)) {
    case SSL_ERROR_WANT_READ: want(client, EPOLLIN); break;
    case SSL_ERROR_WANT_WRITE: want(client, EPOLLIN | EPOLLOUT); break;
    default: bury(client);
    }
    return false;
}

static bool write_some(struct client *client) {
    const char *from = client->out + client->out_sent;
    size_t length = client->out_length - client->out_sent;
    ssize_t written;
    if (client->tls) {
        ERR_clear_error();
        written = SSL_write(client->tls, from, (int)length);
        if (written <= 0) return tls_may_go_on(client, (int)written);
    } else {
        written = send(client->fd, from, length, MSG_NOSIGNAL);
        if (written < 0) {
            if (errno == EAGAIN) want(client, EPOLLIN | EPOLLOUT);
            else bury(client);
            return false;
        }
    }
    client->out_sent += (size_t)written;
    return true;
}

static void flush(struct client *client) {
    while (client->out_sent < client->out_length)
        if (!write_some(client)) return;
    client->out_sent = client->out_length = 0;
    want(client, client->state == HELD ? 0 : EPOLLIN);
    if (client->closing) {
        if (client->tls) SSL_shutdown(client->tls);
        bury(client);
    } else if (client->handshake_next) {
        client->handshake_next = false;
        client->in_length = 0; /* what came in plain text behind STARTTLS must not count: RFC 3207, section 5 */
        client->tls = SSL_new(tls_context);
        SSL_set_fd(client->tls, client->fd);
        SSL_set_accept_state(client->tls);
    }
}

static void process(struct client *client) {
    size_t start = 0;
    while (takes_lines(client)) {
        char *line = client->in + start, *end = memchr(line, '\n', client->in_length - start);
        if (!end) break;
        size_t length = (size_t)(end - line);
        start += length + 1;
        if (length > 0 && line[length - 1] == '\r') length--;
        take_line(client, line, length);
    }
    memmove(client->in, client->in + start, client->in_length - start);
    client->in_length -= start;
    if (client->in_length == IN_SIZE) client->in_length = 0;
    if (client->out_length) flush(client);
    else if (client->state == HELD) want(client, 0);
}

static void read_and_process(struct client *client) {
    while (takes_lines(client)) {
        char *into = client->in + client->in_length;
        int room = (int)(IN_SIZE - client->in_length);
        ssize_t length;
        if (client->tls) {
            ERR_clear_error();
            length = SSL_read(client->tls, into, room);
            if (length <= 0) {
                tls_may_go_on(client, (int)length);
                return;
            }
        } else {
            length = recv(client->fd, into, (size_t)room, 0);
            if (length < 0 && errno == EAGAIN) return;
            if (length <= 0) {
                bury(client);
                return;
            }
        }
        client->in_length += (size_t)length;
        process(client);
    }
}

static void welcome(void) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *client = calloc(1, sizeof *client);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        client->fd = fd;
        client->interest = EPOLLIN;
        client->in = malloc(IN_SIZE);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        say(client, "220 sink ESMTP\r\n");
        flush(client);
    }
}

static void release_held(void) {
    struct client *client;
    while ((client = next_due())) {
        if (client->dead) {
            client->next_dead = graveyard;
            graveyard = client;
            continue;
        }
        accept_message(client);
        process(client); /* what came meanwhile; then what the socket and TLS still hold */
        read_and_process(client);
    }
}

static void obey(const char *order) {
    long milliseconds;
    if (sscanf(order, "delay %ld", &milliseconds) == 1) {
        delay = milliseconds * INT64_C(1000000);
    } else if (strcmp(order, "flush\n") == 0) {
        fflush(record);
    } else if (strcmp(order, "reset\n") == 0) {
        accepted = 0;
        rewind(record);
        if (ftruncate(fileno(record), 0) != 0) die("record");
    } else if (strcmp(order, "count\n") != 0) {
        printf("unknown\n");
        return;
    }
    printf("%lu\n", accepted);
}

static int listen_on_free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (void *)&address, size) != 0 || listen(listener, 1024) != 0) die("listen");
    getsockname(listener, (void *)&address, &size);
    return ntohs(address.sin_port);
}

static void prepare(const char *certificate, const char *key, const char *path) {
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    tls_context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_min_proto_version(tls_context, TLS1_2_VERSION);
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_use_certificate_chain_file(tls_context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls_context, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    record = fopen(path, "w");
    if (!record) die(path);
    setvbuf(record, NULL, _IOFBF, 1 << 20);
}

int main(int count, char **words) {
    struct epoll_event events[256];
    struct epoll_event on_listener = {.events = EPOLLIN, .data.ptr = &listener};
    struct epoll_event on_orders = {.events = EPOLLIN, .data.ptr = stdin};
    char order[ORDER_SIZE];
    if (count != 4) {
        fprintf(stderr, "usage: sink CERTIFICATE KEY RECORD\n");
        return 2;
    }
    prepare(words[1], words[2], words[3]);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    printf("port %d\n", listen_on_free_port());
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &on_listener);
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &on_orders);
    for (;;) {
        int64_t wait = first_held ? first_held->due - now() : 0;
        struct timespec time = {.tv_nsec = wait > 0 ? wait % 1000000000 : 0, .tv_sec = wait > 0 ? wait / 1000000000 : 0};
        int ready = epoll_pwait2(epoll, events, 256, first_held ? &time : NULL, NULL);
        if (ready < 0 && errno != EINTR) die("epoll");
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (events[i].data.ptr == &listener) {
                welcome();
            } else if (events[i].data.ptr == stdin) {
                if (!fgets(order, sizeof order, stdin)) return 0; /* one order at a time: each waits for its answer */
                obey(order);
            } else if (!client->dead) {
                if (client->out_length && !(client->tls && !SSL_is_init_finished(client->tls))) flush(client);
                if (!client->dead) read_and_process(client);
            }
        }
        release_held();
        empty_graveyard();
    }
}

/* The SMTP of the sink: what a line means, what is said to it. No sockets. */
#ifndef SMTP_H
#define SMTP_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { IN_SIZE = 65536, ID_SIZE = 256 };
enum state { COMMAND, HEADER, BODY, HELD };

struct client {
    int fd;
    SSL *tls;
    enum state state;
    bool closing, dead, handshake_next;
    int recipients;
    uint32_t interest;
    char id[ID_SIZE];
    char *in, *out;
    size_t in_length, out_length, out_size, out_sent;
    int64_t due;                          /* when HELD: nanoseconds of CLOCK_MONOTONIC */
    struct client *next_held, *next_dead; /* the delay is the same for all, so the first held is the first due */
};

extern FILE *record;
extern int64_t delay; /* nanoseconds */
extern unsigned long accepted;
extern struct client *first_held;

/* Nanoseconds of CLOCK_MONOTONIC. */
int64_t now(void);

/* Append to what is to be written. */
void say(struct client *client, const char *text);

/* Whether the next line may be taken now. */
bool takes_lines(const struct client *client);

/* One line, without its end. */
void take_line(struct client *client, const char *line, size_t length);

/* Write the message down and say 250. */
void accept_message(struct client *client);

/* The first client whose reply was held back for long enough, no longer held; or NULL. */
struct client *next_due(void);

#endif

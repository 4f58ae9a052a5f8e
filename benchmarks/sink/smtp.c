#define _GNU_SOURCE
#include "smtp.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

FILE *record;
int64_t delay;
unsigned long accepted;
struct client *first_held;
static struct client *last_held;

int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

void say(struct client *client, const char *text) {
    size_t length = strlen(text);
    if (client->out_length + length > client->out_size) {
        client->out_size = (client->out_length + length) * 2 + 512;
        client->out = realloc(client->out, client->out_size);
    }
    memcpy(client->out + client->out_length, text, length);
    client->out_length += length;
}

bool takes_lines(const struct client *client) {
    return !client->dead && !client->closing && !client->handshake_next && client->state != HELD;
}

void accept_message(struct client *client) {
    char reply[64];
    accepted++;
    fprintf(record, "%lld %s\n", (long long)now(), client->id);
    client->state = COMMAND;
    client->recipients = 0;
    snprintf(reply, sizeof reply, "250 2.0.0 Ok: queued as %lX\r\n", accepted);
    say(client, reply);
}

static void end_of_data(struct client *client) {
    if (delay == 0) {
        accept_message(client);
        return;
    }
    client->state = HELD;
    client->due = now() + delay;
    client->next_held = NULL;
    if (last_held) last_held->next_held = client;
    else first_held = client;
    last_held = client;
}

static void take_id(struct client *client, const char *line, size_t length) {
    static const char name[] = "Message-ID: ";
    size_t skip = sizeof name - 1;
    if (length <= skip || strncasecmp(line, name, skip) != 0) return;
    length -= skip;
    if (length >= ID_SIZE) length = ID_SIZE - 1;
    memcpy(client->id, line + skip, length);
    client->id[length] = 0;
}

static void content_line(struct client *client, const char *line, size_t length) {
    if (length == 1 && line[0] == '.') end_of_data(client);
    else if (client->state == HEADER && length == 0) client->state = BODY;
    else if (client->state == HEADER) take_id(client, line, length);
}

static bool is(const char *line, size_t length, const char *verb) {
    size_t size = strlen(verb);
    return length >= size && strncasecmp(line, verb, size) == 0;
}

static void command_line(struct client *client, const char *line, size_t length) {
    if (is(line, length, "EHLO")) {
        say(client, "250-sink\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n");
        if (!client->tls) say(client, "250-STARTTLS\r\n");
        say(client, "250 ENHANCEDSTATUSCODES\r\n");
    } else if (is(line, length, "MAIL ")) {
        client->recipients = 0;
        say(client, "250 2.1.0 Ok\r\n");
    } else if (is(line, length, "RCPT ")) {
        client->recipients++;
        say(client, "250 2.1.5 Ok\r\n");
    } else if (is(line, length, "DATA") && client->recipients == 0) {
        say(client, "503 5.5.1 No recipients\r\n");
    } else if (is(line, length, "DATA")) {
        client->state = HEADER;
        strcpy(client->id, "-");
        say(client, "354 Go ahead\r\n");
    } else if (is(line, length, "STARTTLS") && !client->tls) {
        client->handshake_next = true;
        say(client, "220 2.0.0 Ready\r\n");
    } else if (is(line, length, "QUIT")) {
        client->closing = true;
        say(client, "221 2.0.0 Bye\r\n");
    } else if (is(line, length, "RSET") || is(line, length, "NOOP")) {
        client->recipients = 0;
        say(client, "250 2.0.0 Ok\r\n");
    } else {
        say(client, "502 5.5.2 Unknown command\r\n");
    }
}

void take_line(struct client *client, const char *line, size_t length) {
    if (client->state == COMMAND) command_line(client, line, length);
    else content_line(client, line, length);
}

struct client *next_due(void) {
    struct client *client = first_held;
    if (!client || client->due > now()) return NULL;
    first_held = client->next_held;
    if (!first_held) last_held = NULL;
    return client;
}

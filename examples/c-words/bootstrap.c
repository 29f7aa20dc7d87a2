/* A function in C: AWS's Runtime API over one socket, with nothing but libc. It counts the words of the event. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUTE "/2018-06-01/runtime/invocation/"

struct message {
    char id[128]; /* of the call; empty in the answer to a POST */
    char *body;
    size_t length;
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int connect_to(const char *address) {
    char host[64];
    int port;
    struct sockaddr_in place = {.sin_family = AF_INET};
    if (sscanf(address, "%63[^:]:%d", host, &port) != 2 || inet_pton(AF_INET, host, &place.sin_addr) != 1)
        die("AWS_LAMBDA_RUNTIME_API");
    place.sin_port = htons((unsigned short)port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&place, sizeof place) != 0)
        die("connect");
    return fd;
}

/* The value, where the line is this header; else NULL. */
static const char *header(const char *line, const char *name) {
    size_t length = strlen(name);
    if (strncasecmp(line, name, length) != 0 || line[length] != ':')
        return NULL;
    return line + length + 1 + strspn(line + length + 1, " ");
}

static struct message receive(FILE *in) {
    struct message got = {.id = ""};
    char *line = NULL;
    size_t room = 0;
    for (;;) {
        if (getline(&line, &room, in) < 0)
            exit(0); /* the platform has closed the connection: it ends us */
        line[strcspn(line, "\r\n")] = '\0';
        if (*line == '\0')
            break;
        const char *value;
        if ((value = header(line, "Content-Length")))
            got.length = strtoul(value, NULL, 10);
        if ((value = header(line, "Lambda-Runtime-Aws-Request-Id")))
            snprintf(got.id, sizeof got.id, "%s", value);
    }
    free(line);
    got.body = malloc(got.length + 1);
    if (!got.body || fread(got.body, 1, got.length, in) != got.length)
        die("read");
    got.body[got.length] = '\0';
    return got;
}

static int count_words(const char *text) {
    int words = 0;
    for (int inside = 0; *text; text++) {
        int letter = isalnum((unsigned char)*text) != 0;
        words += letter && !inside;
        inside = letter;
    }
    return words;
}

int main(void) {
    const char *address = getenv("AWS_LAMBDA_RUNTIME_API");
    if (!address)
        die("AWS_LAMBDA_RUNTIME_API");
    int fd = connect_to(address);
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    if (!in || !out)
        die("fdopen");
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (;;) {
        fprintf(out, "GET " ROUTE "next HTTP/1.1\r\nHost: %s\r\n\r\n", address);
        fflush(out);
        struct message call = receive(in);
        char answer[64];
        int words = count_words(call.body);
        int length = snprintf(answer, sizeof answer, "{\"words\": %d}", words);
        printf("counted %d words\n", words);
        fprintf(out, "POST " ROUTE "%s/response HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", call.id, address,
                length, answer);
        fflush(out);
        free(call.body);
        free(receive(in).body);
    }
}

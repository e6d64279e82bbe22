/* TLS under a connection, by OpenSSL; certificates are not checked: the bench makes its own. Compiled without OpenSSL
 * (NO_TLS) it refuses. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "bench.h"

#ifdef NO_TLS

bool tls_begin(struct connection *c) {
    (void)c;
    complain("TLS", "this client was compiled without OpenSSL", 40);
    return false;
}
int tls_handshake(struct connection *c) { (void)c; return -1; }
ssize_t tls_read(struct connection *c, void *into, size_t most) { (void)c, (void)into, (void)most; return -1; }
ssize_t tls_write(struct connection *c, const void *bytes, size_t n) { (void)c, (void)bytes, (void)n; return -1; }
void tls_end(struct connection *c) { (void)c; }

#else

#include <openssl/err.h>
#include <openssl/ssl.h>

bool tls_begin(struct connection *c) {
    static SSL_CTX *context;
    if (!context) {
        context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* everybody's handshake is a whole one */
    }
    c->tls = SSL_new(context);
    SSL_set_connect_state(c->tls);
    return SSL_set_fd(c->tls, c->fd) == 1;
}

/* As recv and send: what was done, or -1 with errno, EAGAIN where it has to wait. */
static ssize_t result(struct connection *c, int done) {
    if (done > 0) return done;
    int error = SSL_get_error(c->tls, done);
    if (error == SSL_ERROR_ZERO_RETURN) return 0;
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
    ERR_clear_error();
    return -1;
}

int tls_handshake(struct connection *c) { return (int)result(c, SSL_do_handshake(c->tls)); }

ssize_t tls_read(struct connection *c, void *into, size_t most) {
    size_t got = 0;
    while (got < most) { /* a record that OpenSSL has read already would not wake the loop */
        ssize_t more = result(c, SSL_read(c->tls, (char *)into + got, (int)(most - got)));
        if (more <= 0) return got ? (ssize_t)got : more;
        got += (size_t)more;
    }
    return (ssize_t)got;
}

ssize_t tls_write(struct connection *c, const void *bytes, size_t length) {
    return result(c, SSL_write(c->tls, bytes, (int)length));
}

void tls_end(struct connection *c) {
    SSL_free(c->tls);
    c->tls = NULL;
}

#endif

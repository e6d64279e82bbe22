/* What the files of flotilla._speedups share. Each .c file has a twin of the same name in ../pure, which says what its
   functions mean; here they only cost less. Nothing here keeps a state, opens anything, or decides anything: bytes and
   sockets come in, bytes and numbers go out. Whatever is read may come from a hostile client. */

#ifndef FLOTILLA_SPEEDUPS_H
#define FLOTILLA_SPEEDUPS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000 /* one binary for CPython 3.11 and all that follow */
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef unsigned char byte;

#define FUNCTION(name) PyObject *name(PyObject *module, PyObject *const *args, Py_ssize_t count)

FUNCTION(unmask);
FUNCTION(first_text);
FUNCTION(first_binary);
FUNCTION(framed);
FUNCTION(publication_push);
FUNCTION(protobuf_push);
FUNCTION(protobuf_publish);
FUNCTION(pack);
FUNCTION(read_publication);
FUNCTION(send_to_all);
FUNCTION(fossil_delta);

/* Whether a function was called with so many arguments; else an exception is set. */
int has_arguments(const char *name, Py_ssize_t count, Py_ssize_t wanted);

/* The bytes of a bytes object, which the caller keeps alive; NULL with an exception for anything else. */
const byte *bytes_of(PyObject *object, Py_ssize_t *size);

/* A decimal number without its end, behind the last digit: `end` is one past the room. Returns the first digit. */
byte *decimal(uint64_t value, byte *end);
#define MAX_DECIMAL 20 /* digits of 64 bits */

#endif

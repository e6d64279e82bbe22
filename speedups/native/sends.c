/* The same bytes to many sockets. */

#include "speedups.h"
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL /* Python ignores SIGPIPE by itself */
#define MSG_NOSIGNAL 0
#endif

/* Up to so many sends the interpreter is kept: they take less than to wait until another thread gives it back. */
#define MAX_KEPT 32

typedef struct {
    int descriptor; /* -1: nothing is sent directly */
    Py_ssize_t written;
} Target;

static void send_each(Target *targets, Py_ssize_t count, const byte *wire, Py_ssize_t size)
{
    Py_ssize_t i;
    for (i = 0; i < count; i++) {
        ssize_t written = -1;
        if (targets[i].descriptor >= 0)
            do
                written = send(targets[i].descriptor, wire, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
            while (written < 0 && errno == EINTR);
        targets[i].written = written < 0 ? 0 : (Py_ssize_t)written;
    }
}

/* Which sockets take bytes directly; 0 with an exception. */
static int look(PyObject *outlets, Target *targets, Py_ssize_t count, PyObject *name)
{
    Py_ssize_t i;
    for (i = 0; i < count; i++) {
        PyObject *number = PyObject_GetAttr(PyList_GetItem(outlets, i), name);
        long descriptor;
        if (number == NULL)
            return 0;
        descriptor = PyLong_AsLong(number);
        Py_DECREF(number);
        if (descriptor == -1 && PyErr_Occurred())
            return 0;
        targets[i].descriptor = descriptor < 0 || descriptor > INT_MAX ? -1 : (int)descriptor;
    }
    return 1;
}

static PyObject *left_over(PyObject *outlets, const Target *targets, Py_ssize_t count, Py_ssize_t size)
{
    PyObject *left = PyList_New(0);
    Py_ssize_t i;
    for (i = 0; left != NULL && i < count; i++) {
        PyObject *pair;
        if (targets[i].descriptor >= 0 && targets[i].written == size)
            continue;
        pair = Py_BuildValue("(On)", PyList_GetItem(outlets, i), targets[i].written);
        if (pair == NULL || PyList_Append(left, pair) < 0)
            Py_CLEAR(left);
        Py_XDECREF(pair);
    }
    return left;
}

FUNCTION(send_to_all)
{
    const byte *wire;
    Py_ssize_t size, targeted;
    Target few[MAX_KEPT], *targets = few;
    PyObject *outlets, *name = NULL, *left = NULL;
    (void)module;
    if (!has_arguments("send_to_all", count, 2) || (wire = bytes_of(args[1], &size)) == NULL)
        return NULL;
    outlets = PySequence_List(args[0]); /* nobody else changes this one, and it keeps all of them */
    if (outlets == NULL)
        return NULL;
    targeted = PyList_Size(outlets);
    if (targeted > MAX_KEPT && (targets = PyMem_Malloc((size_t)targeted * sizeof(Target))) == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    name = PyUnicode_InternFromString("descriptor");
    if (name == NULL || !look(outlets, targets, targeted, name))
        goto end;
    if (targeted <= MAX_KEPT) {
        send_each(targets, targeted, wire, size);
    } else {
        Py_BEGIN_ALLOW_THREADS
        send_each(targets, targeted, wire, size);
        Py_END_ALLOW_THREADS
    }
    left = left_over(outlets, targets, targeted, size);
end:
    if (targets != few)
        PyMem_Free(targets);
    Py_XDECREF(name);
    Py_DECREF(outlets);
    return left;
}

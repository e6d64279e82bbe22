/* The module flotilla._speedups: its table of functions, and what they share. */

#include "speedups.h"

int has_arguments(const char *name, Py_ssize_t count, Py_ssize_t wanted)
{
    if (count == wanted)
        return 1;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, not %zd", name, wanted, count);
    return 0;
}

const byte *bytes_of(PyObject *object, Py_ssize_t *size)
{
    char *data;
    if (PyBytes_AsStringAndSize(object, &data, size) < 0)
        return NULL;
    return (const byte *)data;
}

byte *decimal(uint64_t value, byte *end)
{
    do {
        *--end = (byte)('0' + value % 10);
        value /= 10;
    } while (value);
    return end;
}

/* Through void *, for the types of PyCFunction and of a METH_FASTCALL function differ by design. */
#define METHOD(name) {#name, (PyCFunction)(void *)name, METH_FASTCALL, NULL}

static PyMethodDef methods[] = {
    METHOD(unmask),
    METHOD(first_text),
    METHOD(first_binary),
    METHOD(framed),
    METHOD(publication_push),
    METHOD(protobuf_push),
    METHOD(protobuf_publish),
    METHOD(pack),
    METHOD(read_publication),
    METHOD(send_to_all),
    METHOD(fossil_delta),
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "flotilla._speedups",
    .m_doc = "What is bytes and loops, in C: see flotilla.speedups.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}

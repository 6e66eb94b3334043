/* C++ objects whose destructors call a function when the process ends. */
#ifndef STATIC_ENDS_H
#define STATIC_ENDS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*static_end_fn)(const char *which);

/* From the destructor of an object that exists since before main(). */
void at_end_of_global(static_end_fn fn);
/* Of a static object of a function, which exists since this call. */
void at_end_of_local(static_end_fn fn);
/* Of a thread_local object of the calling thread. */
void at_end_of_thread(static_end_fn fn);

#ifdef __cplusplus
}
#endif

#endif

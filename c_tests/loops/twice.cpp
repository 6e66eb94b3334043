// Each binding compiles as C++, also when it is included twice.
#include <hmkv/glib.h>
#include <hmkv/libevent.h>
#include <hmkv/libuv.h>
#include <hmkv/sd-event.h>

#include <hmkv/glib.h>
#include <hmkv/libevent.h>
#include <hmkv/libuv.h>
#include <hmkv/sd-event.h>

#include "hmkv.h"
#include "hmkv.h"

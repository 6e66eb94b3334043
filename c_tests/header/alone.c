#include "hmkv.h"

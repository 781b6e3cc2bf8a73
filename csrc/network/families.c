/* The network families that there are. */
#include "network/network.h"

extern const network_family_t network_transformer;

const network_family_t *const network_families[] = {
    &network_transformer,
    NULL,
};

/* The network families that there are. */
#include "network/network.h"

extern const network_family_t zllm_network_transformer;

const network_family_t *const zllm_network_families[] = {
    &zllm_network_transformer,
    NULL,
};

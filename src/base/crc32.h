/* crc32.h - CRC-32 (IEEE 802.3, reflected) through libdeflate. */
#ifndef LT_BASE_CRC32_H
#define LT_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Continue from crc (0 to start). lt_crc32(lt_crc32(0,a),b) is the CRC of ab.
 */
uint32_t lt_crc32(uint32_t crc, const void *data, size_t bytes);

#endif

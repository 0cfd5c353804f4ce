const blockBytes = 512

/** A tar archive (ustar) of one regular file that everybody may read. */
export function tarOf(name: string, content: Buffer): Buffer {
  const padding = Buffer.alloc((blockBytes - (content.length % blockBytes)) % blockBytes)
  const end = Buffer.alloc(2 * blockBytes)
  return Buffer.concat([headerOf(name, content.length), content, padding, end])
}

function headerOf(name: string, sizeBytes: number): Buffer {
  const header = Buffer.alloc(blockBytes)
  header.write(name, 0)
  header.write('0000644\0', 100) // mode
  header.write('0000000\0', 108) // owner
  header.write('0000000\0', 116) // group
  header.write(`${sizeBytes.toString(8).padStart(11, '0')}\0`, 124)
  header.write('00000000000\0', 136) // modification time
  header.write('        ', 148) // the checksum counts itself as spaces
  header.write('0', 156) // a regular file
  header.write('ustar\x0000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return header
}

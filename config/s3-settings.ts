import { z } from 'zod'
import { nonEmpty, type Setting, seconds, url, wholeNumber, yesOrNo } from './setting.ts'

const PREFIX = 'expected a path without a slash at either end, such as registry'

/** What `storage.type: s3` needs to know. */
export const S3_SETTINGS = {
  'storage.s3.bucket': {
    schema: nonEmpty('expected the name of a bucket'),
    text: 'The bucket. It must exist, and nothing in it below the prefix may be changed by others.',
  },
  'storage.s3.prefix': {
    schema: z.string(PREFIX).regex(/^(?!\/)(?:.*[^/])?$/, PREFIX),
    standard: '',
    text: 'Goes before every key, with a slash in between.',
  },
  'storage.s3.endpoint': {
    schema: url,
    text: 'Where the storage is, unless it is that of AWS.',
  },
  'storage.s3.region': {
    schema: nonEmpty('expected a region'),
    standard: 'us-east-1',
    text: 'Region of the bucket. Storages without regions take any.',
  },
  'storage.s3.accessKeyId': {
    schema: nonEmpty('expected an access key'),
    text: 'Access key. Without it credentials are found as the AWS tools find them: variables, files, the role of the machine.',
  },
  'storage.s3.secretAccessKey': {
    schema: nonEmpty('expected a secret key'),
    secret: true,
    text: 'Secret key that belongs to the access key.',
  },
  'storage.s3.pathStyle': {
    schema: yesOrNo,
    text: 'Whether the bucket goes into the path of a request, not into the host name. Without it: yes if there is an endpoint.',
  },
  'storage.s3.encryption': {
    schema: z.enum(['none', 'AES256', 'aws:kms', 'aws:kms:dsse'], {
      error: 'expected none, AES256, aws:kms or aws:kms:dsse',
    }),
    standard: 'none',
    text: 'Encryption by the storage that is asked for with each object.',
  },
  'storage.s3.kmsKey': {
    schema: nonEmpty('expected a key'),
    text: 'Id or ARN of the key for `aws:kms`; without it the standard key of the account.',
  },
  'storage.s3.storageClass': {
    schema: nonEmpty('expected a storage class'),
    text: 'Storage class of new objects, such as `STANDARD_IA`. It must allow reading at once.',
  },
  'storage.s3.checksums': {
    schema: z.enum(['required', 'supported'], { error: 'expected required or supported' }),
    standard: 'required',
    text: '`supported` sends a CRC with every object, which AWS checks; other storages often refuse or ignore it.',
  },
  'storage.s3.ca': {
    schema: nonEmpty('expected a file'),
    text: 'PEM file of certificate authorities to trust for the endpoint.',
  },
  'storage.s3.sockets': {
    schema: wholeNumber(1, 10_000),
    standard: '200',
    text: 'Most connections of one process for writing. Each download has one of its own.',
  },
  'storage.s3.connectSeconds': {
    schema: seconds,
    standard: '3',
    text: 'How long a connection may take to be made.',
  },
  'storage.s3.idleSeconds': {
    schema: seconds,
    standard: '30',
    text: 'A request on whose connection no byte moves for so long is tried again.',
  },
  'storage.s3.attempts': {
    schema: wholeNumber(1, 20),
    standard: '6',
    text: 'Tries of one request, the first included; pauses between them grow.',
  },
  'storage.s3.partsInFlight': {
    schema: wholeNumber(1, 1000),
    standard: '8',
    text: 'Parts of 16 MiB that one process sends at a time. Each upload holds one more while it fills it.',
  },
  'storage.s3.redirect': {
    schema: yesOrNo,
    standard: 'false',
    text: 'Whether clients are sent to the bucket for the bytes of blobs.',
  },
  'storage.s3.redirectEndpoint': {
    schema: url,
    text: 'How clients reach the storage, if not by `storage.s3.endpoint`.',
  },
  'storage.s3.redirectSeconds': {
    schema: wholeNumber(60, 6 * 86_400),
    standard: '1200',
    text: 'For how long a URL that a client was sent to is good at least.',
  },
} as const satisfies Record<string, Setting>

// Ends with success once the bucket of an S3 server exists and an object of it can be put
// and read again, and with a failure when that is not so within a minute.
//
//     node scripts/s3/await-bucket.mjs http://ACCESSKEY:SECRETKEY@127.0.0.1:PORT/BUCKET
import { setTimeout as sleep } from 'node:timers/promises'
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'

const patienceMs = 60_000
const patienceWithOneTryMs = 15_000
const pauseMs = 200

const url = new URL(process.argv[2] ?? '')
const bucket = url.pathname.slice(1)
const client = new S3Client({
  endpoint: url.origin,
  region: 'us-east-1',
  credentials: {
    accessKeyId: decodeURIComponent(url.username),
    secretAccessKey: decodeURIComponent(url.password),
  },
  forcePathStyle: true,
  maxAttempts: 1,
  requestChecksumCalculation: 'WHEN_REQUIRED',
  responseChecksumValidation: 'WHEN_REQUIRED',
})

async function createBucket(options) {
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket }), options)
  } catch (error) {
    if (error.name !== 'BucketAlreadyOwnedByYou') throw error
  }
}

async function tryObject(options) {
  const object = { Bucket: bucket, Key: `await-bucket-${process.pid}` }
  const body = `${process.pid} at ${Date.now()}`
  await client.send(new PutObjectCommand({ ...object, Body: body }), options)
  const answer = await client.send(new GetObjectCommand(object), options)
  const read = await answer.Body.transformToString()
  await client.send(new DeleteObjectCommand(object), options)
  if (read !== body) throw new Error(`put «${body}», got «${read}»`)
}

const deadline = Date.now() + patienceMs
for (;;) {
  try {
    const options = { abortSignal: AbortSignal.timeout(patienceWithOneTryMs) }
    await createBucket(options)
    await tryObject(options)
    break
  } catch (error) {
    if (Date.now() > deadline) throw error
    await sleep(pauseMs)
  }
}

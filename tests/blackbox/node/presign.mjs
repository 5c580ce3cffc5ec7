// Presigned URLs as JavaScript makes them: presign.mjs ENDPOINT BUCKET KEY ACCESS SECRET prints JSON by name.
import { S3Client, GetObjectCommand, PutObjectCommand, DeleteObjectCommand, ListObjectsV2Command, HeadObjectCommand,
         CreateMultipartUploadCommand, PutObjectTaggingCommand } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const [endpoint, Bucket, Key, accessKeyId, secretAccessKey] = process.argv.slice(2);
const options = { endpoint, region: "us-east-1", forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } };
const client = new S3Client({ ...options, requestChecksumCalculation: "WHEN_REQUIRED" });
const sign = (command, more = {}) => getSignedUrl(client, command, { expiresIn: 300, ...more });
console.log(JSON.stringify({
  get: await sign(new GetObjectCommand({ Bucket, Key })),
  head: await sign(new HeadObjectCommand({ Bucket, Key })),
  list: await sign(new ListObjectsV2Command({ Bucket, Prefix: "a/" })),
  remove: await sign(new DeleteObjectCommand({ Bucket, Key })),
  upload: await sign(new CreateMultipartUploadCommand({ Bucket, Key, Metadata: { job: "7" } })),
  // The presigner moves these headers into the query; there they must count.
  put: await sign(new PutObjectCommand({ Bucket, Key, Metadata: { color: "blue" }, StorageClass: "STANDARD_IA",
                                         Tagging: "team=ml", ACL: "public-read" })),
  lock: await sign(new PutObjectCommand({ Bucket, Key: `${Key}-locked`, ObjectLockLegalHoldStatus: "ON" })),
  encrypted: await sign(new PutObjectCommand({ Bucket, Key: `${Key}-sealed`, ServerSideEncryption: "AES256" })),
  // By default the presigner signs the checksum of an empty body.
  trap: await getSignedUrl(new S3Client(options), new PutObjectCommand({ Bucket, Key: `${Key}-trap` })),
  expired: await sign(new GetObjectCommand({ Bucket, Key }), { signingDate: new Date(Date.now() - 3600_000) }),
}));

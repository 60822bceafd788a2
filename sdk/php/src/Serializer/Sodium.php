<?php

declare(strict_types=1);

namespace Edge\Serializer;

use Edge\Exception\ProtocolException;
use Edge\Serializer;

/**
 * Encrypts what another serializer makes, with libsodium's secretbox: who can read the storage sees no values, and a value that
 * somebody changed is refused before it is unserialized. Keys are made once with Sodium::generateKey() and kept as a secret.
 *
 *     new Sodium($key);             // over serialize()
 *     new Sodium([$new, $old]);     // rotation: the first encrypts, all decrypt
 *
 * The keys of the storage are not encrypted, and a value can be moved to another key by who can write to the storage.
 */
final class Sodium implements Serializer
{
    /** @var non-empty-list<string> */
    private readonly array $keys;

    private readonly Serializer $inner;

    /** @param string|list<string> $keys of 32 bytes, or as generateKey() writes them */
    public function __construct(#[\SensitiveParameter] string|array $keys, ?Serializer $inner = null)
    {
        if (!\extension_loaded('sodium')) {
            throw new \LogicException('the extension sodium is missing: it comes with PHP, apt-get install php-common');
        }
        $raw = [];
        foreach ((array) $keys as $i => $key) {
            if (\strlen($key) !== \SODIUM_CRYPTO_SECRETBOX_KEYBYTES) {
                $key = (string) \base64_decode($key, true);
            }
            if (\strlen($key) !== \SODIUM_CRYPTO_SECRETBOX_KEYBYTES) {
                throw new \LogicException("key $i of the sodium serializer has not 32 bytes: make one with " . self::class . '::generateKey()');
            }
            $raw[] = $key;
        }
        if ($raw === []) {
            throw new \LogicException('the sodium serializer has no key: make one with ' . self::class . '::generateKey()');
        }
        $this->keys = $raw;
        $this->inner = $inner ?? new Native();
    }

    /** A new key, in base64. */
    public static function generateKey(): string
    {
        return \base64_encode(\sodium_crypto_secretbox_keygen());
    }

    public function encode(mixed $value): string
    {
        $nonce = \random_bytes(\SODIUM_CRYPTO_SECRETBOX_NONCEBYTES);

        return $nonce . \sodium_crypto_secretbox($this->inner->encode($value), $nonce, $this->keys[0]);
    }

    public function decode(string $bytes): mixed
    {
        $nonce = \substr($bytes, 0, \SODIUM_CRYPTO_SECRETBOX_NONCEBYTES);
        if (\strlen($bytes) >= \SODIUM_CRYPTO_SECRETBOX_NONCEBYTES + \SODIUM_CRYPTO_SECRETBOX_MACBYTES) {
            $box = \substr($bytes, \SODIUM_CRYPTO_SECRETBOX_NONCEBYTES);
            foreach ($this->keys as $key) {
                $plain = \sodium_crypto_secretbox_open($box, $nonce, $key);
                if ($plain !== false) {
                    return $this->inner->decode($plain);
                }
            }
        }
        throw new ProtocolException('the value was not encrypted with any of the keys, or was changed since');
    }
}

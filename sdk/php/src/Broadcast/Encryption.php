<?php

declare(strict_types=1);

namespace Edge\Broadcast;

/**
 * The end-to-end encryption of channels that begin with private-encrypted-: the server passes on what it cannot read. It needs
 * PHP's sodium extension. Back ends of one application share the master key, 32 random bytes in base64.
 */
final class Encryption
{
    private readonly string $key;

    public function __construct(#[\SensitiveParameter] string $masterKeyBase64)
    {
        $key = \base64_decode($masterKeyBase64, true);
        if ($key === false || \strlen($key) !== 32) {
            throw new \InvalidArgumentException('the master key must be 32 bytes in base64; make one with: openssl rand -base64 32');
        }
        if (!\function_exists('sodium_crypto_secretbox')) {
            throw new \RuntimeException('encrypted channels need the PHP extension sodium');
        }
        $this->key = $key;
    }

    public static function covers(string $channel): bool
    {
        return \str_starts_with($channel, 'private-encrypted-');
    }

    /** What subscribers of a channel decrypt with, in base64. */
    public function sharedSecret(string $channel): string
    {
        return \base64_encode($this->keyOf($channel));
    }

    /** The data of an event as it goes over the wire. */
    public function encrypt(string $channel, string $data): string
    {
        $nonce = \random_bytes(\SODIUM_CRYPTO_SECRETBOX_NONCEBYTES);

        return \json_encode([
            'nonce' => \base64_encode($nonce),
            'ciphertext' => \base64_encode(\sodium_crypto_secretbox($data, $nonce, $this->keyOf($channel))),
        ], \JSON_THROW_ON_ERROR | \JSON_UNESCAPED_SLASHES);
    }

    private function keyOf(string $channel): string
    {
        return \hash('sha256', $channel . $this->key, true);
    }
}

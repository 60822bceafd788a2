<?php

declare(strict_types=1);

namespace Edge\Tests;

use Edge\Broadcast\Encryption;
use Edge\Broadcast\Signer;
use PHPUnit\Framework\TestCase;

/** The signatures are the worked examples of the protocol's documentation. Publishing is tested with a server, in ws/pusher. */
final class BroadcastTest extends TestCase
{
    private const KEY = '278d425bdf160c739803';
    private const SECRET = '7ad3773142a6692b25b8';

    public function testChannels(): void
    {
        $signer = new Signer(self::KEY, self::SECRET);
        self::assertSame(
            ['auth' => self::KEY . ':58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4'],
            $signer->channel('1234.1234', 'private-foobar'),
        );
        $presence = $signer->channel('1234.1234', 'presence-foobar', 10, ['name' => 'Mr. Channels']);
        self::assertSame('{"user_id":"10","user_info":{"name":"Mr. Channels"}}', $presence['channel_data']);
        self::assertSame(self::KEY . ':' . hash_hmac('sha256', '1234.1234:presence-foobar:' . $presence['channel_data'], self::SECRET), $presence['auth']);
    }

    public function testUsers(): void
    {
        $signer = new Signer(self::KEY, self::SECRET);
        self::assertSame(
            ['auth' => self::KEY . ':4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba', 'user_data' => '{"id":"12345"}'],
            $signer->user('1234.1234', '12345'),
        );
        self::assertSame('{"id":"7","user_info":{"n":1},"watchlist":["a","b"]}', $signer->user('1.2', '7', ['n' => 1], [3 => 'a', 4 => 'b'])['user_data']);
    }

    /** @dataProvider nonsense */
    public function testNonsenseIsNotSigned(string $socket, string $channel): void
    {
        $this->expectException(\InvalidArgumentException::class);
        (new Signer(self::KEY, self::SECRET))->channel($socket, $channel);
    }

    public static function nonsense(): iterable
    {
        yield ['', 'private-a'];
        yield ['1.2:user', 'private-a'];
        yield ["1.2\n", 'private-a'];
        yield ['1.2', 'private-a:{"user_id":"1"}'];
        yield ['1.2', ':user:{"id":"1"}'];
        yield ['1.2', "private-a\n"];
    }

    public function testEncryption(): void
    {
        if (!\extension_loaded('sodium')) {
            $this->expectExceptionMessage('sodium');
        }
        $encryption = new Encryption(base64_encode(str_repeat('k', 32)));
        $signer = new Signer(self::KEY, self::SECRET, $encryption);
        $key = base64_decode($signer->channel('1.2', 'private-encrypted-a')['shared_secret']);
        self::assertSame(hash('sha256', 'private-encrypted-a' . str_repeat('k', 32), true), $key);
        $event = json_decode($encryption->encrypt('private-encrypted-a', '{"n":1}'), true);
        self::assertSame('{"n":1}', sodium_crypto_secretbox_open(base64_decode($event['ciphertext']), base64_decode($event['nonce']), $key));
        $this->expectException(\InvalidArgumentException::class);
        new Encryption('too short');
    }

    public function testWebhooks(): void
    {
        $signer = new Signer(self::KEY, self::SECRET);
        self::assertTrue($signer->verifies('{"a":1}', hash_hmac('sha256', '{"a":1}', self::SECRET)));
        self::assertFalse($signer->verifies('{"a":2}', hash_hmac('sha256', '{"a":1}', self::SECRET)));
    }
}

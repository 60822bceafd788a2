<?php

declare(strict_types=1);

namespace Edge\Tests\Integration;

use Edge\Exception\ProtocolException;
use Edge\KV;
use Edge\Serializer;
use Edge\Serializer\Counting;
use Edge\Serializer\Igbinary;
use Edge\Serializer\Native;
use Edge\Serializer\Sodium;
use Edge\Serializer\Text;
use PHPUnit\Framework\TestCase;

final class SerializerTest extends TestCase
{
    /** @return iterable<string, array{Serializer}> */
    public static function serializers(): iterable
    {
        yield 'native' => [new Native()];
        yield 'igbinary' => [new Igbinary()];
        yield 'sodium' => [new Sodium(Sodium::generateKey())];
        yield 'sodium over igbinary' => [new Sodium(\random_bytes(32), new Igbinary())];
        yield 'counting' => [new Counting(new Igbinary())];
    }

    /** @dataProvider serializers */
    public function testValues(Serializer $serializer): void
    {
        $kv = new KV('main', null, $serializer);
        foreach ([null, false, true, 0, -7, 1.5, '', '5', "\0\xff", [1, ['a' => null]], new \ArrayObject([1])] as $i => $value) {
            $kv->set("key$i", $value);
            self::assertEquals($value, $kv->get("key$i", 'default'));
            self::assertSame(\gettype($value), \gettype($kv->get("key$i", 'default')));
            self::assertEquals(["key$i" => $value], $kv->getMultiple(["key$i"]));
        }
        self::assertSame(3, $kv->increment('counter' . \random_int(0, \PHP_INT_MAX), 3));
    }

    /** @dataProvider serializers */
    public function testForeignBytes(Serializer $serializer): void
    {
        (new KV('main', null, new Text()))->set('foreign', 'what is this?');
        $this->expectException(ProtocolException::class);
        $this->expectExceptionMessage('"foreign"');
        (new KV('main', null, $serializer))->get('foreign');
    }

    public function testRotation(): void
    {
        [$old, $new] = [Sodium::generateKey(), Sodium::generateKey()];
        (new KV('main', null, new Sodium($old)))->set('secret', 'of the old key');
        $both = new KV('main', null, new Sodium([$new, $old]));
        self::assertSame('of the old key', $both->get('secret'));
        $both->set('secret', 'of the new key');
        self::assertSame('of the new key', (new KV('main', null, new Sodium($new)))->get('secret'));
        $stored = (new KV('main', null, new Text()))->get('secret');
        self::assertStringNotContainsString('of the new key', $stored);
        $stored[40] = $stored[40] === 'x' ? 'y' : 'x';
        (new KV('main', null, new Text()))->set('secret', $stored);
        $this->expectException(ProtocolException::class);
        $both->get('secret');
    }

    public function testBadKey(): void
    {
        $this->expectException(\LogicException::class);
        new Sodium('too short');
    }

    public function testClasses(): void
    {
        (new KV('main'))->set('object', new \ArrayObject());
        self::assertInstanceOf(\__PHP_Incomplete_Class::class, (new KV('main', null, new Native([])))->get('object'));
    }
}

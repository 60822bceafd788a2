<?php

declare(strict_types=1);

namespace Edge\Tests;

use Edge\Http\Request;
use Edge\Symfony\Requests;
use PHPUnit\Framework\TestCase;
use Symfony\Component\HttpFoundation\Request as SymfonyRequest;

/** The request of HttpFoundation is the one that PHP's superglobals would have given. */
final class SymfonyRequestsTest extends TestCase
{
    private array $server;

    protected function setUp(): void
    {
        $this->server = $_SERVER;
    }

    protected function tearDown(): void
    {
        $_SERVER = $this->server;
        $_GET = $_POST = $_COOKIE = $_REQUEST = $_FILES = [];
    }

    public function testAllOfIt(): void
    {
        $request = $this->make(
            'https://example.org:8443/a%20b/c?d[]=1&d[]=2&e',
            ['User-Agent' => 'test', 'X-Two' => ['1', '2'], 'Accept-Language' => 'de', 'Cookie' => 'id=7', 'Cache-Control' => 'no-cache', 'Proxy' => 'evil'],
            'body',
            attributes: ['user' => 'ada', '_controller' => 'evil'],
        );
        self::assertSame('PUT', $request->getMethod());
        self::assertSame('/a%20b/c', $request->getPathInfo());
        self::assertSame('', $request->getBaseUrl());
        self::assertSame('https://example.org:8443', $request->getSchemeAndHttpHost());
        self::assertTrue($request->isSecure());
        self::assertSame(['d' => ['1', '2'], 'e' => ''], $request->query->all());
        self::assertSame(['id' => '7'], $request->cookies->all());
        self::assertSame('127.0.0.1', $request->getClientIp());
        self::assertSame('test', $request->headers->get('user-agent'));
        self::assertSame('1, 2', $request->headers->get('X_Two'));
        self::assertSame('1, 2', $request->server->get('HTTP_X_TWO'));
        self::assertSame(['de'], $request->getLanguages());
        self::assertTrue($request->headers->hasCacheControlDirective('no-cache'));
        self::assertSame('body', $request->getContent());
        self::assertSame('HTTP/1.1', $request->getProtocolVersion());
        self::assertSame('example.org', $request->server->get('SERVER_NAME'));
        self::assertSame('8443', $request->server->get('SERVER_PORT'));
        self::assertEqualsWithDelta(microtime(true), $request->server->get('REQUEST_TIME_FLOAT'), 60);
        self::assertFalse($request->server->has('HTTP_PROXY'));
        self::assertFalse($request->server->has('argv'));
        self::assertSame('ada', $request->attributes->get('user'));
        self::assertFalse($request->attributes->has('_controller'));
        self::assertSame($request->server->all(), $_SERVER);
        self::assertSame($request->query->all(), $_GET);
    }

    /** The base is the one that Symfony itself would find. */
    public function testBaseIsSymfonys(): void
    {
        foreach (['/', '/a/b', '//a', '/index.php', '/index.php/a?b', '/index.phpx', '/%69ndex.php/a', '/a/index.php/b', '/a%2Fb'] as $uri) {
            $request = $this->make('http://localhost' . $uri, []);
            $symfony = new SymfonyRequest([], [], [], [], [], $request->server->all());
            self::assertSame([$symfony->getBaseUrl(), $symfony->getBasePath(), $symfony->getPathInfo(), $symfony->getUri()], [$request->getBaseUrl(), $request->getBasePath(), $request->getPathInfo(), $request->getUri()], $uri);
        }
    }

    /** The headers are those that Symfony itself would find in $_SERVER. */
    public function testHeadersAreSymfonys(): void
    {
        foreach ([[], ['Authorization' => 'Basic YWRhOmxvdmU='], ['Authorization' => 'Bearer x'], ['Authorization' => 'Digest a="b"']] as $more) {
            $request = $this->make('http://localhost/', $more + ['X-A' => '1', 'Content-Type' => 'text/plain', 'Content-Length' => '0']);
            $symfony = new SymfonyRequest([], [], [], [], [], $request->server->all());
            $own = $request->headers->all();
            $theirs = $symfony->headers->all();
            ksort($own);
            ksort($theirs);
            self::assertSame($theirs, $own);
        }
        self::assertSame(['ada', 'love'], (function (): array {
            $request = $this->make('http://localhost/', ['Authorization' => 'Basic YWRhOmxvdmU=']);

            return [$request->getUser(), $request->getPassword()];
        })());
    }

    /** Nothing of a request is in the next one. */
    public function testRequestsAreApart(): void
    {
        $requests = new Requests();
        $requests->make(Request::fromMessage(Pack::request('GET', 'https://a/', ['Authorization' => 'Basic YWRhOmxvdmU=', 'X-Secret' => '1', 'Cookie' => 'a=b'], ['a' => 'b']), ''));
        $request = $requests->make(Request::fromMessage(Pack::request('GET', 'http://b/'), ''));
        foreach (['HTTPS', 'PHP_AUTH_USER', 'HTTP_X_SECRET', 'HTTP_COOKIE', 'HTTP_AUTHORIZATION'] as $name) {
            self::assertFalse($request->server->has($name), $name);
            self::assertArrayNotHasKey($name, $_SERVER);
        }
        self::assertSame([], $request->cookies->all() + $_COOKIE);
        self::assertSame(['host' => ['b']], $request->headers->all());
    }

    /** A client may send any number of header names; the worker does not remember them all. */
    public function testNamesAreForgotten(): void
    {
        $requests = new Requests();
        $make = static fn (int $i) => $requests->make(Request::fromMessage(Pack::request('GET', 'http://a/', ["X-$i" => (string) $i]), ''));
        for ($i = 0; $i < 1000; ++$i) {
            self::assertSame((string) $i, $make($i)->headers->get("x-$i"));
        }
        $before = memory_get_usage();
        for (; $i < 3000; ++$i) {
            $make($i);
        }
        self::assertLessThan(50_000, memory_get_usage() - $before);
    }

    public function testFiles(): void
    {
        $path = tempnam(sys_get_temp_dir(), 'edge');
        file_put_contents($path, 'content');
        $file = static fn (string $name, int $error): array => ['name' => $name, 'mime' => 'text/plain', 'size' => 7, 'error' => $error, 'tmpName' => $error ? '' : $path];
        $uploads = json_encode(['a' => $file('a.txt', 0), 'b' => ['c' => [$file('b.txt', UPLOAD_ERR_INI_SIZE)]], 'none' => $file('', UPLOAD_ERR_NO_FILE)]);
        $request = (new Requests())->make(Request::fromMessage(Pack::request('POST', uploads: $uploads), ''));

        $moved = $request->files->get('a')->move(sys_get_temp_dir(), basename($path) . '.moved');
        self::assertSame('content', file_get_contents($moved->getPathname()));
        unlink($moved->getPathname());
        self::assertFalse($request->files->get('b')['c'][0]->isValid());
        self::assertSame(UPLOAD_ERR_INI_SIZE, $request->files->get('b')['c'][0]->getError());
        self::assertNull($request->files->get('none'));
        self::assertTrue($request->files->has('none'));
        $without = (new Requests(emptyFiles: false))->make(Request::fromMessage(Pack::request('POST', uploads: json_encode(['none' => $file('', UPLOAD_ERR_NO_FILE)])), ''));
        self::assertFalse($without->files->has('none'));
    }

    public function testLargeBodyStaysInItsFile(): void
    {
        $path = tempnam(sys_get_temp_dir(), 'edge');
        file_put_contents($path, 'spooled');
        $request = (new Requests())->make(Request::fromMessage(Pack::request('POST', attributes: ['edge.body_file' => $path]), ''));
        self::assertSame('spooled', stream_get_contents($request->getContent(true)));
        self::assertSame('spooled', $request->getContent());
        unlink($path);
    }

    private function make(string $uri, array $headers, string $body = '', array $attributes = []): SymfonyRequest
    {
        $query = (string) parse_url($uri, PHP_URL_QUERY);

        return (new Requests())->make(Request::fromMessage(Pack::request('PUT', $uri, $headers, ['id' => '7'], $query, attributes: $attributes), $body));
    }
}

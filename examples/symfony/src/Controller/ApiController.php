<?php

declare(strict_types=1);

namespace App\Controller;

use App\Visits;
use Symfony\Component\HttpFoundation\JsonResponse;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpKernel\Attribute\AsController;

#[AsController]
final class ApiController
{
    public function __construct(private readonly Visits $visits)
    {
    }

    public function products(int $page): JsonResponse
    {
        $items = [];
        for ($id = 10 * $page - 9; $id <= 10 * $page; ++$id) {
            $items[] = ['id' => $id, 'name' => "Product $id", 'price_cents' => 1250 * $id, 'in_stock' => $id % 3 !== 0];
        }

        return new JsonResponse(['page' => $page, 'items' => $items]);
    }

    /** What the application sees of a request. */
    public function echo(Request $request): JsonResponse
    {
        return new JsonResponse([
            'method' => $request->getMethod(),
            'uri' => $request->getUri(),
            'base' => $request->getBaseUrl(),
            'path' => $request->getPathInfo(),
            'secure' => $request->isSecure(),
            'ip' => $request->getClientIp(),
            'query' => $request->query->all(),
            'form' => $request->request->all(),
            'cookies' => $request->cookies->all(),
            'type' => $request->headers->get('Content-Type'),
            'accept' => $request->getAcceptableContentTypes(),
            'custom' => $request->headers->get('X-Custom'),
            'server' => $request->server->get('HTTP_X_CUSTOM'),
            'user' => $request->getUser(),
            'password' => $request->getPassword(),
            'body' => md5($request->getContent()),
        ]);
    }

    /** A service that counts, and is reset between requests like every service that implements ResetInterface. */
    public function state(): JsonResponse
    {
        return new JsonResponse(['visits' => $this->visits->count()]);
    }

    public function broken(): never
    {
        throw new \DomainException('the controller broke');
    }
}

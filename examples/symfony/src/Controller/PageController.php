<?php

declare(strict_types=1);

namespace App\Controller;

use Symfony\Component\HttpFoundation\RedirectResponse;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\HttpKernel\Attribute\AsController;
use Twig\Environment;

#[AsController]
final class PageController
{
    public function __construct(private readonly Environment $twig)
    {
    }

    public function home(Request $request): Response
    {
        return new Response($this->twig->render('home.html.twig', ['name' => $request->query->get('name', 'world')]));
    }

    public function counter(Request $request): Response
    {
        $session = $request->getSession();
        $session->set('count', $count = $session->get('count', 0) + 1);

        return new Response($this->twig->render('counter.html.twig', ['count' => $count]));
    }

    public function forget(Request $request): Response
    {
        $request->getSession()->invalidate();

        return new RedirectResponse('/counter');
    }
}
